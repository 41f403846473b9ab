//! Files whose rows are lines of orders, and files that add to what is known of customers.

use std::fmt::Write as _;

use hospes::jobs::imports::{BATCH_ROWS_MAX, Session};
use hospes::ops::imports::work::{LEASE_SECONDS, Step};
use hospes_tests::{TestApp, both_engines};
use serde_json::{Value, json};

use crate::imports::{Importer, counts};

fn lines() -> Value {
    json!({
        "format": "csv", "order_rows": "lines", "time": {"time_zone": "UTC"},
        "fields": {
            "external_id": {"column": "order"},
            "customer.external_id": {"column": "who"},
            "customer.kind": {"constant": "person"},
            "ordered_at": {"column": "day"},
            "currency": {"constant": "USD"},
            "channel": {"constant": "shop"},
            "store": {"column": "store"},
            "line.sku": {"column": "sku"},
            "line.quantity": {"column": "pieces"},
            "line.amount": {"column": "paid"},
        },
    })
}

const HEAD: &str = "order,who,day,store,sku,pieces,paid\n";

/// Code and line of each fault.
fn places(errors: &[Vec<String>]) -> Vec<(&str, &str, &str)> {
    errors.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str())).collect()
}

/// A file of so many orders of `lines` lines each.
fn file(orders: usize, lines: usize) -> String {
    let mut file = HEAD.to_owned();
    for order in 0..orders {
        for line in 0..lines {
            writeln!(file, "{order},{},2026-01-01,,S{line},1,{line}.50", order % 5).unwrap();
        }
    }
    file
}

both_engines! {
    async fn rows_that_follow_one_another_become_one_order(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let file = format!(
            "{HEAD}1,ann,2026-01-01,Main St,COF,2,5.60\n1,ann,2026-01-01,,TEA,1,3.00\n1,ann,2026-01-01,Main St,COF,1,-0.60\n\
             2,bob,2026-01-02,,TEA,1,0.00\n"
        );
        let import = importer.import("orders", &lines(), file.clone()).await;
        assert_eq!((import["state"].as_str(), counts(&import)), (Some("succeeded"), [4, 0, 0, 0]), "{import}");
        let orders = importer.all("/api/v1/orders").await;
        assert_eq!(orders.len(), 2);
        assert_eq!(orders[0]["total"], json!({"amount_minor": 800, "currency": "USD"}));
        let shown: Vec<_> = orders[0]["lines"].as_array().unwrap().iter().map(|line| {
            (line["sku"].as_str().unwrap(), line["quantity"].as_i64().unwrap(), line["amount"]["amount_minor"].as_i64().unwrap())
        }).collect();
        assert_eq!(shown, [("COF", 2, 560), ("TEA", 1, 300), ("COF", 1, -60)]);
        assert_eq!((&orders[0]["store"], &orders[1]["total"]["amount_minor"]), (&json!("Main St"), &json!(0)));

        assert_eq!(counts(&importer.import("orders", &lines(), file.clone()).await), [0, 0, 4, 0], "again");
        let changed = file.replace("3.00", "3.10");
        assert_eq!(counts(&importer.import("orders", &lines(), changed).await), [0, 3, 1, 0]);
        assert_eq!(importer.all("/api/v1/orders").await[0]["total"]["amount_minor"], 810);
    }

    async fn a_total_of_the_order_must_be_the_sum_of_its_lines(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let mut mapping = lines();
        mapping["fields"]["total"] = json!({"column": "total"});
        let head = HEAD.replace('\n', ",total\n");
        let file = format!(
            "{head}1,a,2026-01-01,,X,1,1.00,3.00\n1,a,2026-01-01,,Y,1,2.00,3.00\n2,a,2026-01-01,,X,1,1.00,2.00\n\
             3,a,2026-01-01,,X,1,1.00,3.00\n3,a,2026-01-01,,Y,1,2.00,\n4,a,2026-01-01,,X,1,1.00,3.00\n4,a,2026-01-01,,Y,1,2.00,4.00\n"
        );
        let job = importer.start("orders", &mapping).await;
        importer.upload(&job, file).await;
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [4, 0, 0, 3]);
        let errors = importer.errors(&job).await;
        assert_eq!(places(&errors)[1..], [("7", "", "order_refused"), ("8", "total", "differs")]);
        assert_eq!((errors[0][0].as_str(), errors[0][1].as_str()), ("4", "total"));
    }

    async fn an_order_is_taken_whole_or_not_at_all(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let file = format!(
            "{HEAD}1,a,2026-01-01,,X,1,1.00\n1,a,2026-01-01,,Y,none,2.00\n1,a,2026-01-01,,Z,1,3.00\n\
             2,a,2026-01-01,,X,1,1.00\n2,a,2026-01-01,,Y\n2,a,2026-01-01,,Z,1,1.00\n\
             3,a,2026-01-01,,X,1,1.00\n3,b,2026-01-01,,Y,1,1.00\n\
             4,a,2026-01-01,,X,1,1.00\n4,a,2026-01-01,,Y,1,-2.00\n\
             5,a,2026-01-01,,X,1,1.00\n5,a,2026-01-01,,,1,1.00\n\
             6,a,2026-01-01,,X,1,1.00\n"
        );
        let job = importer.start("orders", &lines()).await;
        importer.upload(&job, file).await;
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 0, 0, 12]);
        let errors = importer.errors(&job).await;
        let told: Vec<_> = errors.iter().filter(|row| row[2] != "order_refused").cloned().collect();
        let told: Vec<_> = places(&told).into_iter().map(|(line, column, _)| (line, column)).collect();
        // The fourth costs less than nothing, which its lines make together.
        assert_eq!(told, [("3", "pieces"), ("6", "6"), ("9", "who"), ("10", ""), ("13", "sku")]);
        assert_eq!(errors.len(), 12);
        assert_eq!(importer.all("/api/v1/orders").await.len(), 1);
    }

    async fn a_fault_that_a_rule_finds_names_the_row_of_its_line(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let mut mapping = lines();
        mapping["fields"]["currency"] = json!({"column": "store"});
        mapping["fields"].as_object_mut().unwrap().remove("store");
        let file = format!("{HEAD}1,a,2026-01-01,USD,X,1,1.00\n1,a,2026-01-01,EUR,Y,1,1.00\n");
        let job = importer.start("orders", &mapping).await;
        importer.upload(&job, file).await;
        importer.work().await;
        let errors = importer.errors(&job).await;
        assert_eq!(places(&errors), [("2", "", "order_refused"), ("3", "paid", "currency_mismatch")]);
    }

    async fn rows_of_an_order_that_stand_apart_are_refused(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let file = format!(
            "{HEAD}1,a,2026-01-01,,X,1,1.00\n2,a,2026-01-01,,X,1,1.00\n1,a,2026-01-01,,Y,1,2.00\n1,a,2026-01-01,,Z,1,2.00\n"
        );
        for (created, unchanged) in [(2, 0), (0, 2)] {
            let job = importer.start("orders", &lines()).await;
            importer.upload(&job, file.clone()).await;
            importer.work().await;
            assert_eq!(counts(&importer.get(&job).await), [created, 0, unchanged, 2]);
            let errors = importer.errors(&job).await;
            assert_eq!(places(&errors), [("4", "", "not_adjacent"), ("5", "", "order_refused")]);
            assert!(errors[0][3].ends_with("line 2"), "{errors:?}");
        }
        assert_eq!(importer.all("/api/v1/orders").await[0]["lines"].as_array().unwrap().len(), 1);
    }

    async fn an_order_is_never_torn_apart_between_two_batches(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        // Seven does not divide a batch.
        let orders = 3 * BATCH_ROWS_MAX / 7;
        let job = importer.start("orders", &lines()).await;
        importer.upload(&job, file(orders, 7)).await;
        let mut session = Session::lease(&app.core).await.unwrap().expect("a job is queued");
        assert_eq!(session.step().await.unwrap(), Step::More);
        let first = counts(&importer.get(&job).await)[0];
        assert_eq!((first % 7, first >= i64::try_from(BATCH_ROWS_MAX).unwrap()), (0, true), "{first}");
        // A crash tells nobody; what goes on begins with an order.
        drop(session);
        app.clock.advance_seconds(LEASE_SECONDS + 1);
        importer.work().await;
        let rows = i64::try_from(orders * 7).unwrap();
        assert_eq!(counts(&importer.get(&job).await), [rows, 0, 0, 0]);
        let made = importer.all("/api/v1/orders").await;
        assert!(made.iter().all(|order| order["lines"].as_array().unwrap().len() == 7));
        assert_eq!(made.len(), orders);
        let again = importer.import("orders", &lines(), file(orders, 7)).await;
        assert_eq!(counts(&again), [0, 0, rows, 0]);
    }

    async fn an_order_has_at_most_so_many_lines(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let import = importer.import("orders", &lines(), file(1, 500)).await;
        assert_eq!(counts(&import), [500, 0, 0, 0], "{import}");
        let mut long = file(1, 1_300).replace("\n0,", "\nlong,");
        long.push_str("next,a,2026-01-01,,X,1,1.00\n");
        let job = importer.start("orders", &lines()).await;
        importer.upload(&job, long).await;
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 0, 0, 1_300], "the whole order, and nothing else");
        let errors = importer.errors(&job).await;
        let told: Vec<_> = errors.iter().filter(|row| row[2] != "order_refused").map(|row| &row[2]).collect();
        assert_eq!(told, ["too_many_lines", "not_adjacent"]);
    }

    async fn a_mapping_of_lines_says_what_each_line_costs(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let refused = async |entity: &str, mapping: &Value| {
            let body = json!({"entity": entity, "source": "shop", "mapping": mapping});
            let answer = app.post("/api/v1/imports").token(&importer.token).json(body).await.expect(422);
            answer.faults().iter().map(|fault| fault.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut without = lines();
        without["fields"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("line."));
        without["fields"]["external_id"]["occurrence"] = json!(true);
        assert_eq!(refused("orders", &without).await, [
            "/mapping/fields/external_id/occurrence", "/mapping/fields/line.sku", "/mapping/fields/line.amount",
        ]);
        let of_customers = json!({"format": "csv", "order_rows": "lines", "fields": {
            "external_id": {"column": "id"}, "name": {"column": "id"},
        }});
        assert_eq!(refused("customers", &of_customers).await, ["/mapping/order_rows"]);
        let mut replacing = lines();
        replacing["contact_points"] = json!("replace");
        assert_eq!(refused("orders", &replacing).await, ["/mapping/contact_points"]);
    }

    async fn ways_to_reach_a_customer_are_added_to_those_there_are(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let owner = &importer.tenant.owner;
        let known = json!({"kind": "person", "name": "Lin", "contact_points": [
            {"kind": "email", "value": "lin@work.example"}, {"kind": "phone", "value": "+86 10 1234"},
        ]});
        let made = owner.put("/api/v1/sources/shop/customers/1", known).await.expect(201).body;
        let mut mapping = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "name": {"column": "name"}, "email": {"column": "email"},
            "phone": {"column": "phone"}, "wechat": {"column": "wechat"},
        }});
        let file = "id,name,email,phone,wechat\n1,Lin,lin@home.example,+86101234,lin_xm\n";
        assert_eq!(counts(&importer.import("customers", &mapping, file).await), [0, 1, 0, 0]);
        let path = format!("/api/v1/customers/{}", made["id"].as_str().unwrap());
        let points = owner.get(&path).await.expect(200).body["contact_points"].clone();
        assert_eq!(points, json!([
            {"kind": "email", "value": "lin@work.example", "primary": true},
            {"kind": "phone", "value": "+86 10 1234", "primary": true},
            {"kind": "email", "value": "lin@home.example", "primary": false},
            {"kind": "wechat", "value": "lin_xm", "primary": true},
        ]));
        assert_eq!(counts(&importer.import("customers", &mapping, file).await), [0, 0, 1, 0], "again");
        let silent = "id,name,email,phone,wechat\n1,Lin,,,\n";
        assert_eq!(counts(&importer.import("customers", &mapping, silent).await), [0, 0, 1, 0]);

        mapping["contact_points"] = json!("replace");
        assert_eq!(counts(&importer.import("customers", &mapping, silent).await), [0, 0, 1, 0]);
        let one = "id,name,email,phone,wechat\n1,Lin,new@home.example,,\n";
        assert_eq!(counts(&importer.import("customers", &mapping, one).await), [0, 1, 0, 0]);
        let points = owner.get(&path).await.expect(200).body["contact_points"].clone();
        assert_eq!(points, json!([{"kind": "email", "value": "new@home.example", "primary": true}]));
    }

    async fn tags_are_added_to_those_there_are(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let owner = &importer.tenant.owner;
        let known = json!({"kind": "person", "name": "Lin", "tags": ["regular", "vip"]});
        let made = owner.put("/api/v1/sources/shop/customers/1", known).await.expect(201).body;
        let path = format!("/api/v1/customers/{}", made["id"].as_str().unwrap());
        let tags = async || owner.get(&path).await.expect(200).body["tags"].clone();
        let mut mapping = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "name": {"constant": "Lin"}, "tags": {"column": "tags"},
        }});
        let file = "id,tags\n1,vip; new；shop|new\n";
        assert_eq!(counts(&importer.import("customers", &mapping, file).await), [0, 1, 0, 0]);
        assert_eq!(tags().await, json!(["new", "regular", "shop", "vip"]));
        assert_eq!(counts(&importer.import("customers", &mapping, file).await), [0, 0, 1, 0], "again");
        mapping["tags"] = json!("replace");
        assert_eq!(counts(&importer.import("customers", &mapping, "id,tags\n1,\n").await), [0, 0, 1, 0]);
        assert_eq!(counts(&importer.import("customers", &mapping, "id,tags\n1,new\n").await), [0, 1, 0, 0]);
        assert_eq!(tags().await, json!(["new"]));
    }

    async fn a_customer_has_at_most_so_many_ways_to_be_reached(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let mapping = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "name": {"constant": "Lin"}, "email": {"column": "email"},
        }});
        let mut file = "id,email\n".to_owned();
        for number in 0..21 {
            writeln!(file, "1,a{number}@example.com").unwrap();
        }
        let job = importer.start("customers", &mapping).await;
        importer.upload(&job, file).await;
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 19, 0, 1]);
        assert_eq!(importer.errors(&job).await[0][..1], ["22"]);
    }
}
