use serde_json::json;

use super::*;

fn view(document: Value) -> View {
    serde_json::from_value(document).unwrap()
}

#[test]
fn a_dry_run_is_a_report() {
    let shown = text(&view(json!({
        "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "state": "succeeded",
        "from": {"application": "garden", "backup": "018bcfe5-6800-7707-8707-070707070708"},
        "services": [
            {"from": "MAIN", "to": "DEFAULT", "tables": ["public.orders"]},
            {"from": "MEDIA", "to": "MEDIA"},
        ],
        "options": {"dry_run": true, "later": 1}, "requested_by": "arn:aws:iam::123456789012:user/me",
        "created_at": "2026-11-24T08:00:00Z", "finished_at": "2026-11-24T08:00:05Z", "future_field": 1,
        "preflight": [
            {"service": "DEFAULT", "target": "\"shop\" at db.example:5432", "is_occupied": true, "bytes": 52_428_800, "estimated_seconds": 75,
             "steps": ["make the table", "fill it"], "notes": ["the role \u{1b}[31manna is not there"],
             "refusals": [{"code": "not_empty", "what": "the database has 17 tables", "fix": "add --overwrite"}]},
            {"service": "MEDIA", "target": "s3://shop-media/media/", "is_occupied": false, "bytes": 7, "estimated_seconds": 1,
             "changes": {"added": 3, "replaced": 0, "unchanged": 116, "removed": 0}},
        ],
        "runs": [], "links": {},
    })));
    insta::assert_snapshot!(shown);
}

#[test]
fn one_that_succeeded_says_what_it_restored_and_how_to_undo_it() {
    let id = "018bcfe5-6800-7707-8707-070707070707";
    let shown = text(&view(json!({
        "id": id, "application": "shop", "state": "succeeded", "from": {"application": "shop", "backup": "018bcfe5-6800-7707-8707-070707070708"},
        "services": [{"from": "DEFAULT", "to": "DEFAULT"}, {"from": "MEDIA", "to": "MEDIA"}],
        "created_at": "2026-11-24T08:00:00Z", "finished_at": "2026-11-24T08:00:05Z",
        "safety_backup": "018bcfe5-6800-7707-8707-070707070709",
        "runs": [
            {"service": "DEFAULT", "bytes": 123_190, "of_bytes": 123_190, "doing": "rows", "restored": {"tables": 17, "rows": 5305, "rows_compared": true}},
            {"service": "MEDIA", "bytes": 26_738_688, "doing": null, "restored": {"changes": {"added": 1, "replaced": 2, "unchanged": 116, "removed": 0}}},
        ],
        "links": {"undo": format!("/v1/applications/shop/restores/{id}/undo")},
    })));
    insta::assert_snapshot!(shown);
}

#[test]
fn one_that_was_only_tried_says_so() {
    let shown = text(&view(json!({
        "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "state": "succeeded", "rehearsal": true,
        "from": {"application": "shop", "backup": "018bcfe5-6800-7707-8707-070707070708"},
        "services": [{"from": "DEFAULT", "to": "DEFAULT"}, {"from": "MEDIA", "to": "MEDIA"}],
        "created_at": "2026-11-24T08:00:00Z", "finished_at": "2026-11-24T08:00:05Z",
        "runs": [{"service": "DEFAULT", "bytes": 7, "doing": null,
            "restored": {"tables": 17, "rows": 5305, "rows_compared": true, "values_compared": 16}}, {"service": "MEDIA", "bytes": 7, "doing": null,
            "restored": {"changes": {"added": 119, "replaced": 0, "unchanged": 0, "removed": 0}, "files_compared": 119}}],
        "links": {},
    })));
    for said in [
        "only tried",
        "beside the services, compared, and removed again",
        "as many as when they were dumped; the values of 16 tables as they were dumped",
        "119 files, as they were backed up",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    assert!(!shown.contains("undo"), "{shown}");
}
