#[test]
fn the_cards_are_counted_every_night() {
    let host = hospes_testkit::host!();
    host.set_time("2026-03-02T03:30:00Z");
    assert_eq!(host.work().jobs, 1);
    assert_eq!(host.documents("nights")["2026-03-02"], json!({ "cards": 0 }));
    // A schedule need not be waited for.
    host.advance(std::time::Duration::from_secs(24 * 3600 - 60));
    assert_eq!(host.work().jobs, 0);
    host.hasten("nightly");
    assert_eq!(host.work().jobs, 1);
    assert_eq!(host.documents("nights").len(), 2);
}
