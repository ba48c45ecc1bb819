//! When an application has gone without a scheduled success for too long.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::Schedule;
use crate::id::ApplicationId;

/// How long a backup may take from its slot to its end: one that still runs for less is no reason to worry.
pub const LONGEST_BACKUP: TimeDelta = TimeDelta::hours(6);

impl Schedule {
    /// Since when `application` is overdue at `now`; none as long as it is not.
    ///
    /// `since` is the slot of its last scheduled backup that succeeded, or the moment from which this schedule applies to it,
    /// whichever is later. One slot without a success is a bad night. The second one makes it overdue, once that backup has had
    /// the time that a backup may take, [`LONGEST_BACKUP`].
    pub fn overdue_since(
        &self,
        application: &ApplicationId,
        tz: Tz,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let missed = self.next_slot(application, tz, since)?;
        let again = self.next_slot(application, tz, missed.at)?;
        let overdue = again.at.checked_add_signed(LONGEST_BACKUP)?;
        (overdue <= now).then_some(overdue)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::schedule::Window;

    fn shop() -> ApplicationId {
        "shop".parse().unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn daily(start: &str) -> Schedule {
        Schedule::Daily { window: Window { start: start.to_owned(), minutes: 0 } }
    }

    fn cron(expression: &str) -> Schedule {
        Schedule::Cron { expression: expression.to_owned(), spread_minutes: 0 }
    }

    /// The last success, and the moment from which on it is overdue.
    #[rstest]
    #[case::daily(daily("02:00"), Tz::UTC, "2026-04-01T02:00:00Z", "2026-04-03T08:00:00Z")]
    #[case::registered_in_the_afternoon(
        daily("02:00"),
        Tz::UTC,
        "2026-04-01T15:00:00Z",
        "2026-04-03T08:00:00Z"
    )]
    #[case::a_day_of_23_hours(
        daily("02:30"),
        Tz::Europe__Zurich,
        "2026-03-27T01:30:00Z",
        "2026-03-29T07:00:00Z"
    )]
    #[case::a_day_of_25_hours(
        daily("12:00"),
        Tz::Europe__Zurich,
        "2026-10-23T10:00:00Z",
        "2026-10-25T17:00:00Z"
    )]
    #[case::hourly(cron("0 * * * *"), Tz::UTC, "2026-04-01T02:00:00Z", "2026-04-01T10:00:00Z")]
    #[case::weekly(cron("0 3 * * MON"), Tz::UTC, "2026-04-06T03:00:00Z", "2026-04-20T09:00:00Z")]
    #[case::on_weekdays(cron("0 3 * * MON-FRI"), Tz::UTC, "2026-04-02T03:00:00Z", "2026-04-06T09:00:00Z")]
    fn two_slots_without_a_success_and_the_time_of_a_backup(
        #[case] schedule: Schedule,
        #[case] tz: Tz,
        #[case] since: &str,
        #[case] overdue: &str,
    ) {
        let overdue = at(overdue);
        let ask = |now| schedule.overdue_since(&shop(), tz, at(since), now);
        assert_eq!(ask(overdue - TimeDelta::seconds(1)), None);
        assert_eq!(ask(overdue), Some(overdue));
        assert_eq!(ask(overdue + TimeDelta::days(400)), Some(overdue), "it does not change while it lasts");
    }

    #[test]
    fn an_invalid_schedule_promises_nothing() {
        assert_eq!(
            cron("61 * * * *").overdue_since(
                &shop(),
                Tz::UTC,
                at("2026-04-01T00:00:00Z"),
                at("2030-01-01T00:00:00Z")
            ),
            None
        );
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        prop_oneof![
            (0..24_u32, 0..60_u32, 0..=1440_u32).prop_map(|(hour, minute, minutes)| Schedule::Daily {
                window: Window { start: format!("{hour:02}:{minute:02}"), minutes }
            }),
            prop_oneof![
                Just("*/15 * * * *"),
                Just("0 */6 * * *"),
                Just("30 2 * * *"),
                Just("0 3 * * MON"),
                Just("0 4 1 * *")
            ]
            .prop_map(cron),
        ]
    }

    fn zones() -> impl Strategy<Value = Tz> {
        prop_oneof![
            Just(Tz::UTC),
            Just(Tz::Europe__Zurich),
            Just(Tz::America__New_York),
            Just(Tz::Australia__Lord_Howe),
            Just(Tz::America__Havana),
        ]
    }

    proptest! {
        /// As many seconds of 2026 to 2028 as it takes to meet every change of the clock.
        #[test]
        fn it_is_overdue_exactly_when_two_slots_have_had_their_time(
            schedule in schedules(), tz in zones(), since in 1_767_225_600_i64..1_830_297_600, later in 0_i64..40 * 86_400
        ) {
            let since = DateTime::from_timestamp(since, 0).unwrap();
            let now = since + TimeDelta::seconds(later);
            let slots = schedule.slots(&shop(), tz, since).take_while(|slot| slot.at + LONGEST_BACKUP <= now).take(2).count();
            let overdue = schedule.overdue_since(&shop(), tz, since, now);
            prop_assert_eq!(overdue.is_some(), slots == 2);
            prop_assert!(overdue.is_none_or(|at| at > since + LONGEST_BACKUP && at <= now));
        }

        /// A later success never makes an application overdue, or earlier so.
        #[test]
        fn a_success_only_ever_helps(
            schedule in schedules(), tz in zones(), since in 1_767_225_600_i64..1_830_297_600,
            success in 0_i64..20 * 86_400, later in 0_i64..40 * 86_400
        ) {
            let since = DateTime::from_timestamp(since, 0).unwrap();
            let now = since + TimeDelta::seconds(later);
            let before = schedule.overdue_since(&shop(), tz, since, now);
            let after = schedule.overdue_since(&shop(), tz, since + TimeDelta::seconds(success), now);
            prop_assert!(after.is_none() || before.is_some_and(|before| before <= after.unwrap()));
        }
    }
}
