#[test]
fn a_workflow_thanks_a_customer_once_for_each_step() {
    let host = hospes_testkit::host!();
    let ada = host.customer("Ada").create();
    let twice = json!({ "times": 2 });
    let done = json!({ "done": { "thanks": 2 } });
    assert_eq!(host.step(&ada, "reward", ("run-1", &twice)).unwrap(), done);
    // The same step of the same run has ended, and is not run again.
    assert_eq!(host.step(&ada, "reward", ("run-1", &twice)).unwrap(), done);
    assert_eq!(host.documents("cards")[&ada.id]["thanks"], 2);
    let failed = host.step(&ada, "reward", ("run-2", &twice)).unwrap();
    assert_eq!(failed["failed"]["code"], "thanked_enough", "{failed}");
    // What the manifest does not allow never reaches the plugin.
    let refused = host.step(&ada, "reward", ("run-3", &json!({ "times": 9 }))).unwrap_err();
    assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some("/times")));
}
