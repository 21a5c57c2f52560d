//! Which options hold.
