//! Against hand-written windows, against another way to compute them, and for gaps and overlaps.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn text(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap().to_string()
}

fn window(calendar: &Calendar, period: &str, now_ms: i64) -> Window {
    calendar
        .window(Period::parse(period).unwrap(), now_ms)
        .unwrap()
}

fn check(calendar: &Calendar, rows: &[(&str, &str, &str, &str)]) {
    for (period, now, start, end) in rows {
        let window = window(calendar, period, at(now));
        assert_eq!(
            (text(window.start_ms), text(window.end_ms)),
            ((*start).into(), (*end).into()),
            "{period} at {now}"
        );
    }
}

#[test]
fn calendar_windows_start_where_the_calendar_does() {
    #[rustfmt::skip]
    check(&Calendar::UTC, &[
        ("1d", "2026-02-28T23:59:59Z", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("1w", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("1w", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        ("1M", "2024-02-29T10:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("1M", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("1Q", "2026-05-05T05:05:05Z", "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("3M", "2026-05-05T05:05:05Z", "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("1Y", "2026-05-05T05:05:05Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("1M", "1969-12-31T23:00:00Z", "1969-12-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    ]);
}

#[test]
fn a_fiscal_quarter_starts_in_its_month() {
    let from_february = Calendar {
        quarter_start_month: 2,
        ..Calendar::UTC
    };
    #[rustfmt::skip]
    check(&from_february, &[
        ("1Q", "2026-01-31T23:59:59Z", "2025-11-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("1Q", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        ("1M", "2026-02-10T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("1Y", "2026-02-10T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ]);
}

#[test]
fn a_period_below_a_day_has_no_calendar() {
    for period in ["30s", "1m", "1h", "never"] {
        let period = Period::parse(period).unwrap();
        assert_eq!(Calendar::UTC.window(period, 0), None, "{period}");
    }
}

#[test]
fn what_is_no_row_of_windows_is_refused() {
    for starts in [vec![], vec![1], vec![1, 1], vec![2, 1], vec![1, 3, 2]] {
        assert_eq!(Boundaries::new(starts), None);
    }
}

#[test]
fn beyond_the_boundaries_nothing_starts_afresh() {
    let known = Boundaries::new(vec![10, 20, 30]).unwrap();
    let window = |now_ms| {
        let window = known.window(now_ms).unwrap();
        (window.start_ms, window.end_ms)
    };
    assert_eq!(window(10), (10, 20));
    assert_eq!(window(19), (10, 20));
    assert_eq!(window(20), (20, 30));
    assert_eq!(window(29), (20, 30));
    assert_eq!(window(30), (20, i64::MAX), "the last one goes on");
    assert_eq!(window(i64::MAX), (20, i64::MAX));
    assert_eq!(window(9), (10, 20), "a clock that is behind");
}

#[cfg(not(target_arch = "wasm32"))]
mod zones {
    use super::*;
    use crate::limit::{Limit, Metric};
    use jiff::Zoned;
    use jiff::civil::Weekday;
    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    /// With summer time north and south, at midnight, by half an hour, and none.
    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Pacific/Apia",
        "Africa/Cairo",
    ];

    /// Changes of clocks both ways, ends of months and years, leap days; each with its neighbours.
    const INSTANTS: [&str; 40] = [
        "2024-02-28T23:59:59.999Z",
        "2024-02-29T00:00:00Z",
        "2024-02-29T12:34:56Z",
        "2024-02-29T23:59:59.999Z",
        "2024-03-01T00:00:00Z",
        "2025-02-28T23:59:59.999Z",
        "2025-03-01T00:00:00Z",
        "2000-02-29T15:00:00Z",
        "2026-03-08T06:59:59.999Z",
        "2026-03-08T07:00:00Z",
        "2026-03-29T00:59:59.999Z",
        "2026-03-29T01:00:00Z",
        "2026-03-28T23:30:00Z",
        "2026-10-25T00:59:59.999Z",
        "2026-10-25T01:00:00Z",
        "2026-11-01T05:30:00Z",
        "2026-11-01T06:00:00Z",
        "2026-04-05T02:59:59.999Z",
        "2026-04-05T03:00:00Z",
        "2026-04-05T03:30:00Z",
        "2026-09-06T03:59:59.999Z",
        "2026-09-06T04:00:00Z",
        "2026-04-04T14:59:59.999Z",
        "2026-04-04T15:00:00Z",
        "2026-10-03T15:29:59.999Z",
        "2026-10-03T15:30:00Z",
        "2026-04-23T21:59:59.999Z",
        "2026-04-23T22:00:00Z",
        "2026-10-29T20:59:59.999Z",
        "2026-10-29T21:30:00Z",
        "2026-01-31T18:29:59.999Z",
        "2026-01-31T18:30:00Z",
        "2026-12-31T22:59:59.999Z",
        "2026-12-31T23:00:00Z",
        "2026-12-31T23:59:59.999Z",
        "2027-01-01T00:00:00Z",
        "2016-12-31T23:59:59.999Z",
        "2017-01-01T00:00:00Z",
        "2011-12-30T09:59:59.999Z",
        "2011-12-30T10:00:00Z",
    ];

    fn calendar(zone: &str) -> Calendar {
        let zones = TimeZoneDatabase::bundled();
        Calendar {
            zone: if zone == "UTC" {
                TimeZone::UTC
            } else {
                zones.get(zone).unwrap()
            },
            quarter_start_month: 1,
        }
    }

    /// The first moment of the window, by way of dates with a zone.
    fn start_by_dates(period: &str, now: &Zoned) -> Zoned {
        let today = now.start_of_day().unwrap();
        let date = today.date();
        let first = match period {
            "1d" => date,
            "1w" => date
                .tomorrow()
                .unwrap()
                .nth_weekday(-1, Weekday::Monday)
                .unwrap(),
            "1M" => date.first_of_month(),
            "1Q" => date
                .with()
                .day(1)
                .month((date.month() - 1) / 3 * 3 + 1)
                .build()
                .unwrap(),
            _ => date.first_of_year(),
        };
        first.to_zoned(now.time_zone().clone()).unwrap()
    }

    #[test]
    fn forty_moments_in_eight_zones_are_in_the_windows_of_their_dates() {
        let mut checked = 0;
        for zone in ZONES {
            let calendar = calendar(zone);
            for now in INSTANTS {
                let zoned = now
                    .parse::<Timestamp>()
                    .unwrap()
                    .to_zoned(calendar.zone.clone());
                for period in ["1d", "1w", "1M", "1Q", "1Y"] {
                    let window = window(&calendar, period, at(now));
                    let expected = start_by_dates(period, &zoned).timestamp().as_millisecond();
                    assert_eq!(
                        text(window.start_ms),
                        text(expected),
                        "{period} at {now} in {zone}"
                    );
                    assert!(window.end_ms > at(now), "{period} at {now} in {zone}");
                    checked += 1;
                }
            }
        }
        assert_eq!(checked, 8 * 40 * 5);
    }

    #[test]
    fn a_day_is_as_long_as_its_clock_says() {
        for (zone, now, minutes) in [
            ("Europe/Berlin", "2026-03-29T12:00:00Z", 1380),
            ("Europe/Berlin", "2026-10-25T12:00:00Z", 1500),
            ("America/New_York", "2026-03-08T12:00:00Z", 1380),
            ("America/New_York", "2026-11-01T12:00:00Z", 1500),
            ("Australia/Lord_Howe", "2026-04-04T15:30:00Z", 1470),
            ("Australia/Lord_Howe", "2026-10-03T16:00:00Z", 1410),
            // Clocks change at midnight: 24:00 becomes 23:00, and 00:00 becomes 01:00.
            ("America/Santiago", "2026-04-04T12:00:00Z", 1500),
            ("America/Santiago", "2026-09-06T12:00:00Z", 1380),
            ("Africa/Cairo", "2026-04-24T12:00:00Z", 1380),
            ("Africa/Cairo", "2026-10-29T12:00:00Z", 1500),
            ("Asia/Kolkata", "2026-03-29T12:00:00Z", 1440),
        ] {
            let window = window(&calendar(zone), "1d", at(now));
            let length = window.end_ms - window.start_ms;
            assert_eq!(length, minutes * 60_000, "{zone} {now}");
        }
    }

    #[test]
    fn windows_in_a_zone_start_at_its_midnight() {
        #[rustfmt::skip]
        check(&calendar("Europe/Berlin"), &[
            ("1d", "2026-03-29T00:30:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("1d", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            ("1w", "2026-03-29T21:59:59Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("1M", "2026-03-31T22:00:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"),
            ("1Q", "2026-03-31T21:59:59Z", "2025-12-31T23:00:00Z", "2026-03-31T22:00:00Z"),
            ("1Y", "2026-12-31T23:00:00Z", "2026-12-31T23:00:00Z", "2027-12-31T23:00:00Z"),
        ]);
        // The day that Samoa left out has no window.
        #[rustfmt::skip]
        check(&calendar("Pacific/Apia"), &[
            ("1d", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
            ("1d", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
        ]);
    }

    #[test]
    fn boundaries_last_two_weeks_and_three_windows() {
        let now_ms = at("2026-03-20T12:00:00Z");
        for (period, least_ms) in [("1d", 14 * DAY), ("1w", 21 * DAY), ("1Y", 3 * 365 * DAY)] {
            let period = Period::parse(period).unwrap();
            let known = calendar("Europe/Berlin")
                .boundaries(period, now_ms)
                .unwrap();
            let last_ms = *known.as_slice().last().unwrap();
            assert!(last_ms - now_ms >= least_ms, "{period}");
            assert!(known.as_slice().len() < 20, "{period}");
        }
    }

    #[test]
    fn below_a_day_windows_roll_in_every_zone() {
        let berlin = Alignment::Calendar(calendar("Europe/Berlin"));
        let hour = Period::parse("1h").unwrap();
        assert_eq!(berlin.known_at(hour, 0), Alignment::Rolling);
        assert_eq!(hour.window(60_000, &berlin, 60_001).start_ms, 60_000);
    }

    proptest! {
        #[test]
        fn windows_of_a_limit_have_no_gap_and_no_overlap(
            now_ms in -1_000_000_000_000_i64..4_000_000_000_000,
            changed_after in 0_i64..40_000_000_000,
            anchor_ms in 0_i64..2_000_000_000_000,
            counts in (1_u32..5, 1_u32..5),
            units in (0_usize..9, 0_usize..9),
            zones in (0_usize..9, 0_usize..9),
            quarter_start_month in 1_u8..=12,
        ) {
            let kinds = [
                Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month,
                Unit::Quarter, Unit::Year, Unit::Never,
            ];
            let limit = |count, unit: usize, zone: usize| Limit {
                id: "limit".into(),
                metric: Metric::Cost,
                max: 1,
                period: Period::new(if unit == 8 { 1 } else { count }, kinds[unit]).unwrap(),
                anchor_ms: anchor_ms.min(now_ms),
                alignment: ZONES.get(zone).map_or(Alignment::Rolling, |zone| {
                    Alignment::Calendar(Calendar { quarter_start_month, ..calendar(zone) })
                }),
                open: None,
                raised_by: None,
            };
            let before = limit(counts.0, units.0, zones.0);
            let changed_ms = now_ms + changed_after;
            let after = limit(counts.1, units.1, zones.1).after(&before, changed_ms);
            // No change forgets what was used.
            prop_assert_eq!(after.window(changed_ms).start_ms, before.window(changed_ms).start_ms);
            if kinds[units.0] == Unit::Never || kinds[units.1] == Unit::Never {
                // There is one window; it has no neighbours.
                return Ok(());
            }
            for limit in [&before, &after] {
                for now_ms in [now_ms, changed_ms, after.window(changed_ms).end_ms - 1] {
                    let window = limit.window(now_ms);
                    prop_assert!(now_ms < window.end_ms);
                    prop_assert!(window.start_ms <= now_ms);
                    prop_assert_eq!(limit.window(window.start_ms), window);
                    prop_assert_eq!(limit.window(window.end_ms - 1), window);
                    prop_assert_eq!(limit.window(window.end_ms).start_ms, window.end_ms);
                    prop_assert_eq!(limit.window(window.start_ms - 1).end_ms, window.start_ms);
                }
            }
        }

        #[test]
        fn a_filter_sees_the_windows_that_its_control_plane_sees(
            now_ms in 1_000_000_000_000_i64..3_000_000_000_000,
            later in -600_000_i64..1_209_600_000,
            count in 1_u32..4,
            unit in 0_usize..5,
            zone in 1_usize..8,
        ) {
            let units = [Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];
            let period = Period::new(count, units[unit]).unwrap();
            let calendar = Alignment::Calendar(calendar(ZONES[zone]));
            let known = calendar.known_at(period, now_ms);
            prop_assert!(matches!(known, Alignment::Known(_)));
            prop_assert_eq!(
                period.window(0, &known, now_ms + later),
                period.window(0, &calendar, now_ms + later)
            );
        }
    }
}
