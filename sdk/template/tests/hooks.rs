#[test]
fn a_forbidden_tag_is_refused_before_the_save() {
    let host = hospes_testkit::host!();
    let refused = host.customer("Ada").set("tags", json!(["forbidden"])).try_create().unwrap_err();
    assert_eq!(refused.code, "forbidden_tag");
    host.customer("Ada").set("tags", json!(["regular"])).create();
}
