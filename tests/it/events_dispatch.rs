//! Delivery of events: exactly once, in order, and never held up by somebody else's failure.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use hospes::clock::{ManualClock, Timestamp};
use hospes::db::Sql;
use hospes::domain::actor::{Actor, Cause, Locale};
use hospes::domain::code::Reason;
use hospes::domain::event::{Event, Subject};
use hospes::domain::ids::{CustomerId, TenantId};
use hospes::error::{Error, Result};
use hospes::ids::RandomIds;
use hospes::jobs::dispatch::{Consumer, Consumers, Dispatcher, Lane, Report};
use hospes::ops::dead_letters::DeadLetter;
use hospes::ops::events::{Acknowledgement, DeliveredEvent};
use hospes::ops::{Core, dead_letters, events, feed};
use hospes_tests::{TestDb, both_engines};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const CONSUMER: &str = "test:recorder";

struct Bench {
    core: Arc<Core>,
    clock: Arc<ManualClock>,
    tenant: TenantId,
}

impl Bench {
    async fn new(test: &TestDb) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::parse("2026-03-01T08:00:00Z").unwrap()));
        let core = Arc::new(Core::new(test.db.clone(), clock.clone(), Arc::new(RandomIds::default())));
        let tenant = TenantId::new(&*core.ids, core.now());
        Self { core, clock, tenant }
    }

    async fn subscribe(&self, consumer: &str) {
        let state =
            (self.tenant.clone(), consumer.to_owned(), vec!["order.created".to_owned()], self.core.now());
        self.core
            .db
            .write(&self.tenant, state, |tx, (tenant, consumer, names, at)| {
                Box::pin(events::subscribe(tx, tenant, consumer, names, *at))
            })
            .await
            .unwrap();
    }

    fn event(&self, customer: &CustomerId, number: usize) -> Event {
        let subject = Subject::Customer(customer.clone());
        Event::new(&*self.core.ids, self.core.now(), "order.created", subject, json!({ "number": number }))
    }

    async fn append(&self, events: Vec<Event>) {
        let state = (Actor::operator(self.tenant.clone()), self.core.now(), events);
        self.core
            .db
            .write(&self.tenant, state, |tx, (actor, at, events)| {
                Box::pin(async move {
                    events::append_many(tx, actor, *at, &events.iter().collect::<Vec<_>>()).await
                })
            })
            .await
            .unwrap();
    }

    fn dispatcher(&self, consumer: Arc<dyn Consumer>) -> Arc<Dispatcher> {
        let consumers = Consumers::from([("test", consumer)]);
        Dispatcher::new(Arc::clone(&self.core), consumers, CancellationToken::new())
    }

    /// The numbers of the effects, in the order in which they were committed.
    async fn effects(&self) -> Vec<String> {
        #[derive(sqlx::FromRow)]
        struct Row {
            body: String,
        }
        let mut reader = self.core.db.read(&self.tenant).await.unwrap();
        const EFFECTS: Sql =
            Sql::new("SELECT body FROM events WHERE name = 'order.updated' ORDER BY position, id");
        let rows: Vec<Row> = reader.fetch_all(EFFECTS, Vec::new()).await.unwrap();
        rows.into_iter().map(|row| row.body).collect()
    }
}

/// Writes one effect for each event, and refuses the numbers that it is told to.
struct Recorder {
    core: Arc<Core>,
    refused: Mutex<BTreeSet<u64>>,
    /// Whether the effects are discarded at the end of the transaction.
    fails_to_commit: bool,
}

impl Recorder {
    fn new(bench: &Bench, refused: &[u64]) -> Arc<Self> {
        let refused = Mutex::new(refused.iter().copied().collect());
        Arc::new(Self { core: Arc::clone(&bench.core), refused, fails_to_commit: false })
    }
}

impl Consumer for Recorder {
    fn deliver<'a>(
        &'a self,
        lane: &'a Lane,
        batch: Vec<DeliveredEvent>,
        acknowledgement: Acknowledgement,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let refused = self.refused.lock().unwrap().clone();
            if batch.iter().any(|event| refused.contains(&event.body["number"].as_u64().unwrap())) {
                return Err(Error::Refused {
                    code: Reason::OutOfReach,
                    message: "this number is refused".to_owned(),
                });
            }
            let mut actor = Actor::operator(lane.tenant.clone());
            actor.cause = batch.last().map(|event| Cause { event: event.id.clone(), depth: event.depth });
            let now = self.core.now();
            let effects = batch
                .into_iter()
                .map(|event| Event::new(&*self.core.ids, now, "order.updated", event.subject, event.body));
            let state = (actor, now, effects.collect::<Vec<_>>(), acknowledgement, self.fails_to_commit);
            self.core
                .db
                .write(&lane.tenant, state, |tx, (actor, now, effects, acknowledgement, fails)| {
                    Box::pin(async move {
                        events::append_many(tx, actor, *now, &effects.iter().collect::<Vec<_>>()).await?;
                        acknowledgement.apply(tx).await?;
                        if *fails { Err(Error::unavailable("the commit fails")) } else { Ok(()) }
                    })
                })
                .await
        })
    }
}

fn numbers(effects: &[String]) -> Vec<u64> {
    let number = |body: &String| serde_json::from_str::<serde_json::Value>(body).unwrap()["number"].as_u64();
    effects.iter().map(|body| number(body).unwrap()).collect()
}

both_engines! {
    async fn two_dispatchers_at_once_cause_every_effect_once_and_in_order(test: TestDb) {
        let bench = Bench::new(&test).await;
        bench.subscribe(CONSUMER).await;
        let customer = CustomerId::new(&*bench.core.ids, bench.core.now());
        for part in 0..6 {
            bench.append((0..100).map(|n| bench.event(&customer, part * 100 + n)).collect()).await;
        }
        let recorder = Recorder::new(&bench, &[]);
        let (first, second) = (bench.dispatcher(recorder.clone()), bench.dispatcher(recorder));
        let (a, b) = tokio::join!(first.run_once(), second.run_once());
        assert_eq!(a.unwrap().handled + b.unwrap().handled, 600);
        assert_eq!(numbers(&bench.effects().await), (0..600).collect::<Vec<u64>>());
    }

    async fn a_failed_commit_leaves_neither_effect_nor_acknowledgement(test: TestDb) {
        let bench = Bench::new(&test).await;
        bench.subscribe(CONSUMER).await;
        let customer = CustomerId::new(&*bench.core.ids, bench.core.now());
        bench.append((0..5).map(|n| bench.event(&customer, n)).collect()).await;
        let core = Arc::clone(&bench.core);
        let failing = Arc::new(Recorder { core, refused: Mutex::default(), fails_to_commit: true });
        assert_eq!(bench.dispatcher(failing).run_once().await.unwrap().handled, 0);
        assert!(bench.effects().await.is_empty());
        bench.clock.advance_seconds(60);
        let dispatcher = bench.dispatcher(Recorder::new(&bench, &[]));
        assert_eq!(dispatcher.run_once().await.unwrap().handled, 5);
        assert_eq!(dispatcher.run_once().await.unwrap(), Report::default());
        assert_eq!(numbers(&bench.effects().await), [0, 1, 2, 3, 4]);
    }

    async fn a_poison_event_stands_alone_and_only_its_subject_waits(test: TestDb) {
        let bench = Bench::new(&test).await;
        bench.subscribe(CONSUMER).await;
        let mut customers = (0..2).map(|_| CustomerId::new(&*bench.core.ids, bench.core.now()));
        let (ill, well) = (customers.next().unwrap(), customers.next().unwrap());
        let events = (0..20).map(|n| bench.event(if n % 2 == 0 { &ill } else { &well }, n));
        bench.append(events.collect()).await;
        let recorder = Recorder::new(&bench, &[8]);
        let dispatcher = bench.dispatcher(recorder.clone());
        let report = dispatcher.run_once().await.unwrap();
        assert_eq!((report.handled, report.failed, report.dead), (14, 1, 0));
        let done = numbers(&bench.effects().await);
        assert!([0, 2, 4, 6].iter().all(|n| done.contains(n)) && !done.contains(&10));
        for _ in 0..7 {
            bench.clock.advance_seconds(6 * 60 * 60);
            dispatcher.run_once().await.unwrap();
        }
        // The dead letter lets the rest of its subject go on.
        let done = numbers(&bench.effects().await);
        assert_eq!(done.len(), 19);
        assert_eq!(done.iter().filter(|n| *n % 2 == 0).copied().collect::<Vec<_>>(), [0, 2, 4, 6, 10, 12, 14, 16, 18]);

        let operator = Actor::operator(bench.tenant.clone());
        let dead = dead_letters::list(&bench.core, &operator, CONSUMER, &Default::default()).await.unwrap();
        assert_eq!(dead.items.len(), 1);
        assert_eq!((dead.items[0].attempts, &dead.items[0].body), (8, &json!({ "number": 8 })));
        let told = |letter: &DeadLetter| (letter.last_error_code.clone().unwrap(), letter.last_error.clone().unwrap());
        assert_eq!(told(&dead.items[0]), ("out_of_reach".to_owned(), "this number is refused".to_owned()));
        let chinese = Actor { locale: Locale::ZhCn, ..operator.clone() };
        let dead = dead_letters::list(&bench.core, &chinese, CONSUMER, &Default::default()).await.unwrap();
        assert_eq!(told(&dead.items[0]).1, "该记录会超出您自己的权限范围");
        recorder.refused.lock().unwrap().clear();
        let event = dead.items[0].event.parse().unwrap();
        dead_letters::replay(&bench.core, &operator, CONSUMER, event).await.unwrap();
        dispatcher.run_once().await.unwrap();
        assert_eq!(numbers(&bench.effects().await).last(), Some(&8));
    }

    /// Row 34 of the table of attacks: one consumer that always fails, beside many that do not.
    async fn a_poisoned_lane_delays_no_other_and_its_event_is_a_dead_letter_once(test: TestDb) {
        const HEALTHY: usize = 99;
        let bench = Bench::new(&test).await;
        let healthy: Vec<String> = (0..HEALTHY).map(|number| format!("test:healthy-{number:02}")).collect();
        bench.subscribe(Sieve::POISONED).await;
        for consumer in &healthy {
            bench.subscribe(consumer).await;
        }
        let operator = Actor::operator(bench.tenant.clone());
        let dispatcher = bench.dispatcher(Arc::new(Sieve(Arc::clone(&bench.core))));
        let poison = CustomerId::new(&*bench.core.ids, bench.core.now());
        bench.append(vec![bench.event(&poison, 0)]).await;
        let mut dead = 0;
        for round in 1..=10 {
            // Something new for everybody, while the poison is tried again.
            let customer = CustomerId::new(&*bench.core.ids, bench.core.now());
            bench.append(vec![bench.event(&customer, round)]).await;
            dead += dispatcher.run_once().await.unwrap().dead;
            for consumer in &healthy {
                let lane = dead_letters::lane_status(&bench.core, &operator, consumer).await.unwrap().unwrap();
                // The clock stands still meanwhile: what waits for nobody has no lag.
                assert_eq!((lane.waiting, lane.dead, lane.failures), (0, 0, 0), "{consumer} in round {round}");
                assert_eq!(lane.waiting_since, None);
            }
            bench.clock.advance_seconds(24 * 60 * 60);
        }
        let letters = dead_letters::list(&bench.core, &operator, Sieve::POISONED, &Default::default()).await.unwrap();
        assert_eq!(letters.items.iter().filter(|letter| letter.body == json!({ "number": 0 })).count(), 1);
        assert_eq!(dead, u64::try_from(letters.items.len()).unwrap(), "each of them was put aside once");
        let events: BTreeSet<_> = letters.items.iter().map(|letter| &letter.event).collect();
        assert_eq!(events.len(), letters.items.len());
    }

    async fn a_lane_of_a_crashed_dispatcher_is_taken_over_when_its_lease_expires(test: TestDb) {
        let bench = Bench::new(&test).await;
        bench.subscribe(CONSUMER).await;
        let customer = CustomerId::new(&*bench.core.ids, bench.core.now());
        bench.append(vec![bench.event(&customer, 1)]).await;
        let dispatcher = bench.dispatcher(Arc::new(Stuck));
        let stuck = tokio::time::timeout(std::time::Duration::from_secs(1), dispatcher.run_once());
        assert!(stuck.await.is_err());
        let dispatcher = bench.dispatcher(Recorder::new(&bench, &[]));
        assert_eq!(dispatcher.run_once().await.unwrap(), Report::default());
        bench.clock.advance_seconds(31);
        assert_eq!(dispatcher.run_once().await.unwrap().handled, 1);
        assert_eq!(numbers(&bench.effects().await), [1]);
    }

    async fn the_feed_shows_every_event_once_and_goes_on_from_its_cursor(test: TestDb) {
        let bench = Bench::new(&test).await;
        let operator = Actor::operator(bench.tenant.clone());
        let customer = CustomerId::new(&*bench.core.ids, bench.core.now());
        bench.append((0..7).map(|n| bench.event(&customer, n)).collect()).await;
        let mut request = feed::FeedRequest { after: None, limit: 3, types: Vec::new() };
        let mut seen = Vec::new();
        // Other databases of the same cluster may hold the horizon back for a moment.
        for _ in 0..500 {
            let page = feed::page(&bench.core, &operator, &request).await.unwrap();
            seen.extend(page.items.iter().map(|event| event.data["number"].as_u64().unwrap()));
            request.after = Some(page.next_cursor);
            if seen.len() >= 7 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(seen, (0..7).collect::<Vec<u64>>());
    }
}

/// Handles everything for every consumer but one, which fails at whatever it is told.
struct Sieve(Arc<Core>);

impl Sieve {
    const POISONED: &'static str = "test:poisoned";
}

impl Consumer for Sieve {
    fn deliver<'a>(
        &'a self,
        lane: &'a Lane,
        _batch: Vec<DeliveredEvent>,
        acknowledgement: Acknowledgement,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if lane.consumer == Self::POISONED {
                return Err(Error::Refused {
                    code: Reason::OutOfReach,
                    message: "it always traps".to_owned(),
                });
            }
            self.0.db.write(&lane.tenant, acknowledgement, |tx, ack| Box::pin(ack.apply(tx))).await
        })
    }
}

/// Never answers, as a process that was killed.
struct Stuck;

impl Consumer for Stuck {
    fn deliver<'a>(
        &'a self,
        _lane: &'a Lane,
        _batch: Vec<DeliveredEvent>,
        _acknowledgement: Acknowledgement,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::pending())
    }
}
