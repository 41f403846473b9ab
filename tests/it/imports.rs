//! Files become records: through the upload, the job and the API that shows the result.

use std::fmt::Write as _;

use axum::http::Method;
use hospes::domain::money::Currency;
use hospes::domain::permission::{Permission, Role};
use hospes::domain::tenant::NewTenant;
use hospes::jobs::imports::{self, Session};
use hospes::ops::imports::work::{ABANDONED_SECONDS, CONTENT_KEPT_SECONDS, LEASE_SECONDS, Step};
use hospes_tests::{TestApp, TestTenant, both_engines, new_tenant};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// A tenant that imports, and the token that it does so with.
pub(crate) struct Importer<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) tenant: TestTenant,
    pub(crate) token: String,
}

impl<'a> Importer<'a> {
    /// A new tenant with an integration's token.
    pub(crate) async fn new(app: &'a TestApp, slug: &str) -> Self {
        let currency = Currency::parse("USD").unwrap();
        let tenant = app.tenant_with(NewTenant { currency, ..new_tenant(slug) }).await;
        let token = tenant.secret(&[Role::Owner], None).await;
        Self { app, tenant, token }
    }

    /// Makes a job and answers its address.
    pub(crate) async fn start(&self, entity: &str, mapping: &Value) -> String {
        let body = json!({"entity": entity, "source": "shop", "mapping": mapping});
        let made = self.app.post("/api/v1/imports").token(&self.token).json(body).await.expect(201);
        format!("/api/v1/imports/{}", made.json()["id"].as_str().unwrap())
    }

    /// Uploads a whole file.
    pub(crate) async fn upload(&self, job: &str, file: impl Into<Vec<u8>>) {
        let address = format!("{job}/content");
        let sent = self.app.put(&address).token(&self.token).body("text/csv", file.into());
        assert_eq!(sent.await.expect(202).json()["state"], "queued");
    }

    /// Makes a job, uploads the file, works on it, and answers what came of it.
    pub(crate) async fn import(&self, entity: &str, mapping: &Value, file: impl Into<Vec<u8>>) -> Value {
        let job = self.start(entity, mapping).await;
        self.upload(&job, file).await;
        self.work().await;
        self.get(&job).await
    }

    /// Works on jobs until there is none.
    pub(crate) async fn work(&self) {
        while imports::run_once(&self.app.core, &self.app.app.shutdown_token()).await.unwrap() {}
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.app.get(path).token(&self.token).await.expect(200).json()
    }

    /// Every item of a list.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        self.tenant.owner.all(path).await
    }

    /// The rows of a job's error file, without the header.
    pub(crate) async fn errors(&self, job: &str) -> Vec<Vec<String>> {
        self.errors_in(job, "en").await
    }

    /// The same for a reader of a language.
    async fn errors_in(&self, job: &str, language: &str) -> Vec<Vec<String>> {
        let file = self.app.get(&format!("{job}/errors")).token(&self.token);
        let file = file.header("accept-language", language).await.expect(200).text();
        let file = file.strip_prefix('\u{feff}').expect("the file begins with a mark");
        let mut lines = file.split("\r\n").filter(|line| !line.is_empty());
        assert_eq!(lines.next(), Some("line,column,code,message,value"));
        lines.map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }
}

/// How the orders of these tests are written.
fn orders() -> Value {
    json!({
        "format": "csv",
        "time": {"time_zone": "UTC"},
        "fields": {
            "external_id": {"column": "id"},
            "customer.external_id": {"column": "who"},
            "customer.kind": {"constant": "person"},
            "ordered_at": {"column": "day"},
            "currency": {"constant": "USD"},
            "total": {"column": "paid"},
            "channel": {"constant": "shop"},
        },
    })
}

/// The same for files without an order id.
fn purchases() -> Value {
    let mut mapping = orders();
    mapping["fields"]["external_id"] = json!({"columns": ["who", "day", "paid"], "occurrence": true});
    mapping
}

fn customers() -> Value {
    json!({"format": "csv", "fields": {
        "external_id": {"column": "编号"}, "name": {"column": "姓名"}, "tags": {"column": "标签"},
    }})
}

pub(crate) fn counts(import: &Value) -> [i64; 4] {
    ["created", "updated", "unchanged", "failed"].map(|count| import["progress"][count].as_i64().unwrap())
}

/// A file of `rows` purchases, all of them equal to another one.
fn twins(rows: usize) -> String {
    let mut file = "who,day,paid\n".to_owned();
    for row in 0..rows {
        writeln!(file, "{},2026-01-0{},9.99", row % 7, row % 3 + 1).unwrap();
    }
    file
}

both_engines! {
    async fn rows_become_orders_and_the_customers_that_they_name(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let file = "id,who,day,paid\n1,王芳,2026-01-01,29.33\n2,王芳,2026-01-02 08:00:00,0.00\n";
        let import = importer.import("orders", &orders(), file).await;
        assert_eq!((import["state"].as_str(), counts(&import)), (Some("succeeded"), [2, 0, 0, 0]), "{import}");
        let orders = importer.all("/api/v1/orders").await;
        assert_eq!(orders.len(), 2);
        assert_eq!(orders[0]["total"], json!({"amount_minor": 2933, "currency": "USD"}));
        assert_eq!(orders[0]["ordered_at"], "2026-01-01T00:00:00.000000Z");
        let customers = importer.all("/api/v1/customers").await;
        assert_eq!(customers.len(), 1);
        assert_eq!(customers[0]["identities"], json!([{"source": "shop", "external_id": "王芳"}]));
    }

    async fn a_file_is_read_in_the_encoding_that_it_has(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let text = "编号,姓名,标签\n1,\"王\n芳\",常客；会员\n";
        let mut marked = b"\xef\xbb\xbf".to_vec();
        marked.extend_from_slice(text.as_bytes());
        // The same text as a Chinese spreadsheet saves it.
        let gb: &[u8] = b"\xb1\xe0\xba\xc5,\xd0\xd5\xc3\xfb,\xb1\xea\xc7\xa9\n1,\"\xcd\xf5\n\xb7\xbc\",\xb3\xa3\xbf\xcd\xa3\xbb\xbb\xe1\xd4\xb1\n";
        for (file, encoding, expected) in [
            (text.as_bytes(), "utf-8", [1, 0, 0, 0]),
            (marked.as_slice(), "utf-8", [0, 0, 1, 0]),
            (gb, "gb18030", [0, 0, 1, 0]),
        ] {
            let import = importer.import("customers", &customers(), file).await;
            assert_eq!((import["encoding"].as_str(), counts(&import)), (Some(encoding), expected), "{import}");
        }
        let customers = importer.all("/api/v1/customers").await;
        assert_eq!(customers[0]["name"], "王\n芳");
        assert_eq!(customers[0]["tags"], json!(["会员", "常客"]));
    }

    async fn a_malformed_row_is_named_and_does_not_stop_the_others(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let file = "id,who,day,paid\n1,a,2026-01-01,1.00\n2,a,2026-13-01,1.00\n3,a,2026-01-01\n\
            4,a,2026-01-01,=1+1\n5,\"a,2026-01-01,1.00\n6,a,2026-01-02,2.00\n";
        let job = importer.start("orders", &orders()).await;
        importer.upload(&job, file).await;
        importer.work().await;
        let import = importer.get(&job).await;
        assert_eq!((import["state"].as_str(), counts(&import)), (Some("succeeded"), [2, 0, 0, 4]), "{import}");
        let errors = importer.errors(&job).await;
        let places: Vec<_> = errors.iter().map(|row| [row[0].as_str(), &row[1], &row[2]]).collect();
        assert_eq!(places, [
            ["3", "day", "not_a_time"],
            ["4", "4", "column_count"],
            ["5", "paid", "not_an_amount"],
            ["6", "2", "unclosed_quote"],
        ]);
        assert_eq!(errors[2].last().unwrap(), "'=1+1");
    }

    async fn a_fault_of_a_row_is_told_in_the_language_of_whoever_reads_it(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let label = json!({"en": "Red", "zh-CN": "红"});
        importer.tenant.owner.post("/api/v1/fields", json!({
            "entity": "order", "name": "colour", "type": "choice", "label": label, "choices": [{"value": "red", "label": label}],
        })).await.expect(201);
        let mut mapping = orders();
        mapping["time"]["format"] = json!("%Y/%m/%d");
        mapping["fields"]["custom_fields.colour"] = json!({"column": "colour"});
        let rows = [
            "1,a,2026/01/31,1.00,red", "1,b,2026/01/31,1.00,red", "2,a,31.01.2026,1.00,red",
            "3,a,2026/01/31,1.005,red", "4,a,2026/01/31,9999999999,red", "5,a,2026/01/31,-1.00,red",
            "6,a,2026/01/31,1.00,blue", "7,a", &format!("{},a,2026/01/31,1.00,red", "x".repeat(201)), "9,\"a",
        ];
        let job = importer.start("orders", &mapping).await;
        importer.upload(&job, format!("id,who,day,paid,colour\n{}\n", rows.join("\n"))).await;
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 0, 0, 9]);
        let (english, chinese) = (importer.errors(&job).await, importer.errors_in(&job, "zh-CN").await);
        let told = english.iter().zip(&chinese).map(|(english, chinese)| {
            assert_eq!(english[..3], chinese[..3], "only the message is in another language");
            [english[0].as_str(), &english[2], &english[3], &chinese[3]]
        });
        assert_eq!(told.collect::<Vec<_>>(), [
            ["3", "order_customer", "the order belongs to another customer", "该订单属于另一位客户"],
            ["4", "not_a_time", "ordered_at: not a time such as 2026/01/31", "ordered_at：不是有效的日期或时间，例如 2026/01/31"],
            ["5", "too_many_decimals", "total: an amount has at most 2 decimals here", "total：金额最多有 2 位小数"],
            ["6", "amount_out_of_range", "total: an amount must be between -900000000 and 900000000", "total：金额必须在 -900000000 到 900000000 之间"],
            ["7", "too_small", "total.amount_minor: must be at least 0", "total.amount_minor：最小为 0"],
            ["8", "not_allowed", "custom_fields.colour: must be one of red", "custom_fields.colour：必须是以下之一：red"],
            ["9", "column_count", "the row has 2 columns instead of 5", "该行有 2 列，应为 5 列"],
            ["10", "too_long", "external_id: must have at most 200 characters", "external_id：最多 200 个字符"],
            ["11", "unclosed_quote", "a quote is opened here and never closed; a quote inside quotes is written twice", "此处的引号没有闭合；引号内的引号需写两次"],
        ]);
    }

    async fn equal_rows_are_different_orders_and_the_same_ones_the_next_time(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let first = importer.import("orders", &purchases(), twins(60)).await;
        assert_eq!(counts(&first), [60, 0, 0, 0], "{first}");
        let before = importer.all("/api/v1/orders").await;
        let again = importer.import("orders", &purchases(), twins(60)).await;
        assert_eq!(counts(&again), [0, 0, 60, 0], "{again}");
        assert_eq!(importer.all("/api/v1/orders").await, before);
        let more = importer.import("orders", &purchases(), twins(61)).await;
        assert_eq!(counts(&more), [1, 0, 60, 0], "{more}");
    }

    async fn an_import_goes_on_where_a_crash_has_left_it(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let job = importer.start("orders", &purchases()).await;
        importer.upload(&job, twins(1_200)).await;
        let mut session = Session::lease(&app.core).await.unwrap().expect("a job is queued");
        assert_eq!(session.step().await.unwrap(), Step::More);
        // A crash tells nobody: the job is not free before its lease has run out.
        drop(session);
        assert_eq!(counts(&importer.get(&job).await), [500, 0, 0, 0]);
        assert!(Session::lease(&app.core).await.unwrap().is_none());
        app.clock.advance_seconds(LEASE_SECONDS + 1);
        importer.work().await;
        let import = importer.get(&job).await;
        assert_eq!((import["state"].as_str(), counts(&import)), (Some("succeeded"), [1_200, 0, 0, 0]), "{import}");
        let again = importer.import("orders", &purchases(), twins(1_200)).await;
        assert_eq!(counts(&again), [0, 0, 1_200, 0], "{again}");
    }

    async fn two_nodes_never_work_on_one_import(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let job = importer.start("orders", &purchases()).await;
        importer.upload(&job, twins(1_100)).await;
        let mut slow = Session::lease(&app.core).await.unwrap().expect("a job is queued");
        app.clock.advance_seconds(LEASE_SECONDS + 1);
        let mut other = Session::lease(&app.core).await.unwrap().expect("the lease has run out");
        assert_eq!(other.step().await.unwrap(), Step::More);
        assert_eq!(slow.step().await.unwrap(), Step::Ended, "the slow node has lost the job");
        while other.step().await.unwrap() == Step::More {}
        assert_eq!(counts(&importer.get(&job).await), [1_100, 0, 0, 0]);
    }

    async fn an_upload_that_broke_off_goes_on(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let job = importer.start("orders", &orders()).await;
        let address = format!("{job}/content");
        let put = |query: &str, body: &'static str| {
            app.put(&format!("{address}{query}")).token(&importer.token).body("text/csv", body)
        };
        let part = put("?partial=true", "id,who,day,paid\n1,a,2026-").await.expect(202).json();
        assert_eq!((part["state"].as_str(), part["received_bytes"].as_i64()), (Some("receiving"), Some(25)));
        let wrong = put("?offset=7", "x").await.expect(409).json();
        assert_eq!(wrong["code"], "import_offset");
        put("?offset=25", "01-01,1.00\n").await.expect(202);
        put("", "id,who,day,paid\n").await.expect(409);
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 0, 0, 0]);
    }

    async fn an_upload_from_the_start_replaces_what_had_arrived(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let job = importer.start("orders", &orders()).await;
        let part = app.put(&format!("{job}/content?partial=true")).token(&importer.token);
        part.body("text/csv", "rubbish").await.expect(202);
        importer.upload(&job, "id,who,day,paid\n1,a,2026-01-01,1.00\n").await;
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 0, 0, 0]);
    }

    async fn a_cancelled_import_takes_no_file_and_writes_no_more_rows(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let waiting = importer.start("orders", &orders()).await;
        let cancel = |job: &str| app.post(&format!("{job}/cancel")).token(&importer.token);
        assert_eq!(cancel(&waiting).await.expect(200).json()["state"], "cancelled");
        assert_eq!(cancel(&waiting).await.expect(409).json()["code"], "import_ended");
        let upload = app.put(&format!("{waiting}/content")).token(&importer.token);
        assert_eq!(upload.body("text/csv", "id\n").await.expect(409).json()["code"], "import_not_receiving");

        let running = importer.start("orders", &purchases()).await;
        importer.upload(&running, twins(1_200)).await;
        let mut session = Session::lease(&app.core).await.unwrap().expect("a job is queued");
        assert_eq!(session.step().await.unwrap(), Step::More);
        cancel(&running).await.expect(200);
        assert_eq!(session.step().await.unwrap(), Step::Ended);
        let import = importer.get(&running).await;
        assert_eq!((import["state"].as_str(), counts(&import)), (Some("cancelled"), [500, 0, 0, 0]));
    }

    async fn every_fault_of_a_mapping_is_told_before_anything_is_uploaded(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let mut mapping = orders();
        mapping["time"]["time_zone"] = json!("Mars/Olympus");
        mapping["fields"]["totals"] = json!({"column": "x"});
        mapping["fields"]["total"] = json!({});
        let body = json!({"entity": "orders", "source": "shop", "mapping": mapping});
        let refused = app.post("/api/v1/imports").token(&importer.token).json(body).await.expect(422).json();
        let pointers: Vec<_> =
            refused["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
        for expected in ["/mapping/time/time_zone", "/mapping/fields/totals", "/mapping/fields/total"] {
            assert!(pointers.contains(&expected), "{expected} in {pointers:?}");
        }
    }

    async fn a_file_that_is_none_is_refused(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let job = importer.start("orders", &orders()).await;
        let put = |kind: &str, body: &'static [u8]| {
            app.put(&format!("{job}/content")).token(&importer.token).body(kind, body)
        };
        put("application/json", b"{}").await.expect(415);
        put("application/x-ndjson", b"{}").await.expect(415);
        put("text/csv", b"").await.expect(422);
        put("text/csv", b"\xff\xfei\0d\0").await.expect(422);
        let zipped = put("text/csv", b"x").header("content-encoding", "gzip");
        zipped.await.expect(415);
        put("text/csv", b"id,who\n").await.expect(202);
        importer.work().await;
        let import = importer.get(&job).await;
        assert_eq!(import["failure"]["code"], "columns", "{import}");
        let chinese = importer.app.get(&job).token(&importer.token).header("accept-language", "zh-CN").await.expect(200).body;
        assert_eq!(chinese["failure"]["message"], "文件的列与映射不一致");
        let missing: Vec<_> = importer.errors(&job).await.into_iter().map(|row| row[1].clone()).collect();
        assert_eq!(missing, ["day", "paid"]);
    }

    async fn an_import_gives_up_when_too_many_rows_fail(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let mut file = "id,who,day,paid\n".to_owned();
        for row in 0..10_600 {
            writeln!(file, "{row},a,never,free").unwrap();
        }
        let job = importer.start("orders", &orders()).await;
        importer.upload(&job, file).await;
        importer.work().await;
        let import = importer.get(&job).await;
        assert_eq!(import["failure"]["code"], "too_many_failed_rows", "{import}");
        assert_eq!(import["faults_kept"], 10_000);
        let errors = importer.errors(&job).await;
        assert_eq!(errors.len(), 10_001);
        let last = errors.last().unwrap();
        assert_eq!(last[2], "further_faults");
        assert!(last[3].starts_with(&import["faults_dropped"].to_string()), "{last:?}");
    }

    async fn progress_streams_until_the_import_has_ended(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let job = importer.start("orders", &purchases()).await;
        importer.upload(&job, twins(30)).await;
        let stream = app.get(&format!("{job}/progress")).token(&importer.token).stream().await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let mut body = stream.into_body();
        // The work begins once the stream has told how things stand.
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let (rest, ()) = tokio::join!(body.collect(), importer.work());
        let text = String::from_utf8([first, rest.unwrap().to_bytes()].concat()).unwrap();
        let states: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| serde_json::from_str::<Value>(data.trim()).unwrap())
            .collect();
        // Whether the work or the stream is the first to look is chance.
        assert!(["queued", "running"].contains(&states[0]["state"].as_str().unwrap()), "{states:#?}");
        assert_eq!(states.last().unwrap()["state"], "succeeded");
        assert_eq!(counts(states.last().unwrap()), [30, 0, 0, 0]);
    }

    async fn a_foreign_import_looks_like_a_missing_one(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let stranger = Importer::new(&app, "stranger").await;
        let job = importer.start("orders", &orders()).await;
        importer.upload(&job, "id,who,day,paid\n1,a,2026-01-01,1.00\n").await;
        for (method, path) in [
            (Method::GET, job.clone()),
            (Method::GET, format!("{job}/errors")),
            (Method::GET, format!("{job}/progress")),
            (Method::POST, format!("{job}/cancel")),
            (Method::PUT, format!("{job}/content")),
        ] {
            let foreign = app.request(method.clone(), &path).token(&stranger.token);
            let foreign = foreign.body("text/csv", "x").await.expect(404).json();
            assert_eq!(foreign["code"], "not_found", "{method} {path}");
        }
        assert!(stranger.all("/api/v1/imports").await.is_empty());
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 0, 0, 0]);
        assert!(stranger.all("/api/v1/orders").await.is_empty());
    }

    async fn importing_needs_the_right_to_import_and_to_write_such_records(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        for allowed in [Permission::ImportWrite, Permission::OrderWrite] {
            let token = importer.tenant.secret(&[Role::Owner], Some(&[allowed])).await;
            let body = json!({"entity": "orders", "source": "shop", "mapping": orders()});
            let refused = app.post("/api/v1/imports").token(&token).json(body).await.expect(403).json();
            assert_eq!(refused["code"], "forbidden");
        }
    }

    async fn an_import_ends_when_its_maker_loses_the_right(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let other = &importer.tenant.owner;
        let job = importer.start("orders", &purchases()).await;
        importer.upload(&job, twins(600)).await;
        let mut session = Session::lease(&app.core).await.unwrap().expect("a job is queued");
        assert_eq!(session.step().await.unwrap(), Step::More);
        let own = importer.get("/api/v1/me").await["id"].clone();
        other.delete(&format!("/api/v1/tokens/{}", own.as_str().unwrap())).await.expect(204);
        assert_eq!(session.step().await.unwrap(), Step::Ended);
        let import = other.get(&job).await.expect(200).json();
        assert_eq!(import["failure"]["code"], "rights_lost", "{import}");
        assert_eq!(counts(&import), [500, 0, 0, 0]);
    }

    async fn ndjson_is_imported_like_csv(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let mut mapping = orders();
        mapping["format"] = json!("ndjson");
        mapping["fields"]["customer.external_id"] = json!({"column": "/customer/id"});
        let job = importer.start("orders", &mapping).await;
        let file = "{\"id\":1,\"customer\":{\"id\":\"a\"},\"day\":\"2026-01-01\",\"paid\":29.33}\n{\"id\":\n";
        let put = app.put(&format!("{job}/content")).token(&importer.token);
        put.body("application/x-ndjson", file).await.expect(202);
        importer.work().await;
        assert_eq!(counts(&importer.get(&job).await), [1, 0, 0, 1]);
        assert_eq!(importer.errors(&job).await[0][..3], ["2", "6", "bad_json"]);
        assert_eq!(importer.all("/api/v1/orders").await[0]["total"]["amount_minor"], 2_933);
    }

    async fn products_and_timelines_are_imported_too(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let products = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "sku": {"column": "id"}, "name": {"column": "name"},
            "currency": {"constant": "USD"}, "price": {"column": "price"},
        }});
        let file = "id,name,price\nA,Tea,1.50\nB,Coffee,2.00\n";
        assert_eq!(counts(&importer.import("products", &products, file).await), [2, 0, 0, 0]);
        let changed = "id,name,price\nA,Tea,1.50\nB,Coffee,2.10\n";
        assert_eq!(counts(&importer.import("products", &products, changed).await), [0, 1, 1, 0]);

        importer.import("orders", &orders(), "id,who,day,paid\n1,a,2026-01-01,1.00\n").await;
        let visits = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "customer.external_id": {"column": "who"},
            "occurred_at": {"column": "at"}, "type": {"constant": "visit"}, "object": {"column": "page"},
        }});
        let file = "id,who,at,page\n1,a,2026-01-02,/tea\n2,a,2026-01-02,/\n3,nobody,2026-01-02,/\n";
        let import = importer.import("behaviour", &visits, file).await;
        assert_eq!(counts(&import), [2, 0, 0, 1], "{import}");
        assert_eq!(counts(&importer.import("behaviour", &visits, file).await), [0, 0, 2, 1]);
        let calls = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "customer.external_id": {"column": "who"},
            "occurred_at": {"column": "at"}, "channel": {"constant": "phone"},
            "direction": {"constant": "inbound"}, "summary": {"column": "page"},
        }});
        let import = importer.import("interactions", &calls, "id,who,at,page\n9,a,2026-01-03,Where is it?\n").await;
        assert_eq!(counts(&import), [1, 0, 0, 0], "{import}");
    }

    async fn the_file_of_an_ended_import_is_deleted_after_a_day(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let ended = importer.start("orders", &purchases()).await;
        importer.upload(&ended, twins(30)).await;
        importer.work().await;
        let abandoned = importer.start("orders", &orders()).await;
        let kept = |job: &str| {
            let job = job.to_owned();
            let importer = &importer;
            async move { importer.get(&job).await["has_content"].clone() }
        };
        assert!(!imports::purge_once(&app.core).await.unwrap());
        app.clock.advance_seconds(CONTENT_KEPT_SECONDS + 1);
        while imports::purge_once(&app.core).await.unwrap() {}
        assert_eq!((kept(&ended).await, kept(&abandoned).await), (json!(false), json!(true)));
        app.clock.advance_seconds(ABANDONED_SECONDS);
        while imports::purge_once(&app.core).await.unwrap() {}
        assert_eq!(importer.get(&abandoned).await["state"], "cancelled");
    }

    async fn only_so_many_imports_may_wait_for_their_file(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        for _ in 0..hospes::ops::imports::RECEIVING_MAX {
            importer.start("orders", &orders()).await;
        }
        let body = json!({"entity": "orders", "source": "shop", "mapping": orders()});
        let refused = app.post("/api/v1/imports").token(&importer.token).json(body).await.expect(429).json();
        assert_eq!(refused["code"], "imports_receiving");
    }
}
