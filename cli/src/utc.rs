//! Moments as people write them, in UTC.

const MILLIS_OF_DAY: u64 = 24 * 60 * 60 * 1000;

/// `2026-11-21T10:11:12.345Z`, from milliseconds since the Unix epoch.
pub(crate) fn text(millis: u64) -> String {
    let (year, month, day) = date(millis / MILLIS_OF_DAY);
    let of_day = millis % MILLIS_OF_DAY;
    let (seconds, fraction) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z"
    )
}

/// Later days are typing errors of somebody's, and would be counted for long.
const LAST_YEAR: u64 = 9999;

/// Year, month and day of a day since the epoch.
fn date(mut day: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while year < LAST_YEAR && day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while month < 12 && day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        #[track_caller]
        fn check(millis: u64, expected: &str) {
            assert_eq!(text(millis), expected);
        }
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(951_868_800_000, "2000-03-01T00:00:00.000Z");
        check(1_735_689_599_000, "2024-12-31T23:59:59.000Z");
        check(1_735_689_600_000, "2025-01-01T00:00:00.000Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
    }
}
