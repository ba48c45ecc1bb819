use serde_json::json;

use super::*;

fn object(size: u64) -> serde_json::Value {
    json!({"key": "k", "size": size, "crc64nvme": "rosUhgp5mIg=", "etag": "e", "version_id": null,
        "storage_class": "STANDARD_IA", "encryption": {"algorithm": "aws:kms", "key_arn": "k", "bucket_key": true}})
}

#[test]
fn a_running_backup_shows_its_progress() {
    let view: View = serde_json::from_value(json!({
        "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "trigger": "on_demand", "state": "running",
        "note": "before the \u{1b}[31mmigration", "requested_by": "arn:aws:iam::123456789012:user/me",
        "created_at": "2026-11-24T08:00:00Z", "artifacts": [], "future_field": 1,
        "progress": [{"service": "DEFAULT", "phase": "copying", "bytes": 52_428_800, "estimated_bytes": 104_857_600,
            "bytes_per_second": 10_485_760.0, "seconds_left": 5.2}]
    }))
    .unwrap();
    insta::assert_snapshot!(text(&view));
}

#[test]
fn a_succeeded_backup_shows_its_artifacts() {
    let object = object(5_452_595);
    let view: View = serde_json::from_value(json!({
        "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "trigger": "scheduled",
        "state": "succeeded", "label": "daily", "slot_date": "2026-11-24", "created_at": "2026-11-24T08:00:00Z",
        "taken_at": "2026-11-24T08:00:01.5Z", "finished_at": "2026-11-24T08:00:09Z", "retention_reason": "newest",
        "artifacts": [
            {"service": "DEFAULT", "object": object, "milliseconds": 1999, "contents":
                {"format": "postgres_custom", "tables": 17, "rows": 5305}},
            {"service": "MEDIA", "object": object, "milliseconds": 12_345, "contents": {"format": "later"}},
            {"service": "OLD", "object": object, "milliseconds": 5, "contents":
                {"format": "media_tar", "files": 119}}
        ]
    }))
    .unwrap();
    insta::assert_snapshot!(text(&view));
}

#[test]
fn files_that_were_left_out_are_counted_and_the_first_are_named() {
    let skipped: Vec<_> =
        (0..7).map(|number| json!({"key": format!("a/{number}.jpg"), "reason": "it vanished"})).collect();
    let object = object(1);
    let view: View = serde_json::from_value(json!({
        "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "trigger": "on_demand",
        "state": "succeeded", "created_at": "2026-11-24T08:00:00Z",
        "artifacts": [{"service": "MEDIA", "object": object, "milliseconds": 5,
            "contents": {"format": "media_tar", "skipped": skipped, "skipped_count": 30}}]
    }))
    .unwrap();
    let text = text(&view);
    assert!(text.contains("30 files left out: a/0.jpg (it vanished)"), "{text}");
    assert!(text.contains("a/4.jpg (it vanished); and 25 more"), "{text}");
    assert!(!text.contains("a/5.jpg"), "{text}");
}

#[test]
fn tables_that_no_snapshot_holds_are_counted_and_named() {
    let object = object(1);
    let view: View = serde_json::from_value(json!({
        "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "trigger": "on_demand",
        "state": "succeeded", "created_at": "2026-11-24T08:00:00Z",
        "artifacts": [{"service": "DEFAULT", "object": object, "milliseconds": 5,
            "contents": {"format": "mysql_sql", "outside_snapshot": ["sessions", "logs"], "outside_snapshot_count": 3}}]
    }))
    .unwrap();
    let text = text(&view);
    assert!(text.contains("3 tables without transactions"), "{text}");
    assert!(text.contains("sessions, logs and 1 more"), "{text}");
}

#[test]
fn a_backup_that_was_restored_to_verify_it_says_how_that_went() {
    let view: View = serde_json::from_value(json!({
        "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "trigger": "on_demand",
        "state": "succeeded", "created_at": "2026-11-24T08:00:00Z",
        "verification": {
            "state": "passed", "level": 3, "by": "schedule", "at": "2026-11-25T08:00:00Z", "finished_at": "2026-11-25T08:01:15Z",
            "rehearsal": {"restore": "018bcfe5-6800-7707-8707-070707070709", "seconds": 70},
            "artifacts": [
                {"service": "DEFAULT", "bytes": 1_048_576, "tables": 17, "rows": 5305, "rehearsed": {"tables": 16, "rows": 5300, "values_compared": 15}},
                {"service": "MEDIA", "bytes": 1_048_576, "files": 119, "rehearsed": {"files": 120}},
            ],
        },
    }))
    .unwrap();
    let text = text(&view);
    for said in [
        "5305 rows, 17 tables, 119 files",
        "restored in",
        "0709: 5300 rows, 16 tables, 120 files, the values of 15 tables compared",
        "by schedule",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}
