//! Points in time as people write them, in UTC.

/// `2026-01-02 03:04:05`, of seconds since 1970.
pub fn show(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}
/// Seconds since 1970 of `2026-01-02 03:04:05`, or of the beginning of `2026-01-02`.
pub fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text
            .split(by)
            .map(|part| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())))
            .collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    let before: u64 = (1970..year).map(|y| if is_leap(y) { 366 } else { 365 }).sum();
    let months = lengths(year);
    let length = *months.get(month as usize - 1)?;
    let passed: u64 = months.iter().take(month as usize - 1).sum();
    let days = before + passed + day.checked_sub(1).filter(|d| *d < length)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}
fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}
fn lengths(year: u64) -> [u64; 12] {
    [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}
/// The Gregorian date of a day counted from 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let (mut year, mut left) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let mut month = 1;
    for length in lengths(year) {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_have_their_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (20_454, (2026, 1, 1)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }
    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-01-00",
            "2026-01-01 24:00:00",
            "2026-1-1-1",
            "+2026-01-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("2026-01-01"), Some(20_454 * 86_400));
    }
    proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 0u64..200_000_000_000) {
            prop_assert_eq!(parse(&show(seconds)), Some(seconds));
        }
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
