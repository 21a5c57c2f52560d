//! Holds `docs/openapi.json` equal to the types and the table of routes.

use std::path::Path;

#[test]
fn the_checked_in_document_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = etcd_api::openapi::text();
        std::fs::write(&path, text).expect("docs/openapi.json written");
        return;
    }
    let page = std::fs::read_to_string(&path).expect("docs/openapi.json");
    let page: serde_json::Value = serde_json::from_str(&page).expect("json");
    assert!(
        page == etcd_api::openapi::document(),
        "docs/openapi.json is not what the API's types say; run \
         `UPDATE_DOCS=1 cargo test -p etcd-api` and commit the file"
    );
}
