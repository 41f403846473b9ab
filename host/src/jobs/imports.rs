//! The loop that works on imports: reads the stored file, has its rows made on a thread
//! of their own, and commits them batch by batch.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::code::ImportCode;
use crate::domain::import::RowFault;
use crate::domain::import::bound::Bound;
use crate::domain::import::lines;
use crate::domain::import::mapping::Format;
use crate::domain::import::reader::{Content, Field, Next, Position, Reader, Record};
use crate::domain::import::row::{ReadRow, Refused};
use crate::domain::order::LINES_MAX;
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::imports::ready::{Batch, Importer, Ready, Wake};
use crate::ops::imports::work::{self, Step, Work};

/// Rows of one transaction.
pub const BATCH_ROWS_MAX: usize = 500;
/// Rows of one transaction if an order's rows must not be torn apart; one more than it may
/// have lines, so that a batch tells an order that is too long.
pub const BATCH_LINES_MAX: usize = BATCH_ROWS_MAX + LINES_MAX + 1;
/// Imports that one node works on at a time: a long one does not keep a short one waiting.
pub const LOOPS: usize = 2;
/// How long an idle loop waits before it looks again.
const IDLE: Duration = Duration::from_secs(1);
/// How often a long batch tells that its node is alive; far below the lease.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Rounds between two looks for files that nobody needs any more.
const PURGE_ROUNDS: u32 = 60;

/// Works on imports until the server stops.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    let mut rounds = 0_u32;
    while !shutdown.is_cancelled() {
        let worked = match run_once(&core, &shutdown).await {
            Ok(worked) => worked,
            Err(error) => {
                tracing::error!(error = ?error, "an import was interrupted; it goes on when its lease has run out");
                false
            }
        };
        rounds += 1;
        if rounds.is_multiple_of(PURGE_ROUNDS)
            && let Err(error) = purge_once(&core).await
        {
            tracing::error!(error = ?error, "old import files could not be deleted");
        }
        if !worked {
            tokio::select! {
                () = tokio::time::sleep(IDLE) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

/// Works on one import to its end, or until the server stops; false if there was none.
///
/// # Errors
/// Those of the database: the import goes on when its lease has run out.
pub async fn run_once(core: &Arc<Core>, shutdown: &CancellationToken) -> Result<bool> {
    let Some(mut session) = Session::lease(core).await? else {
        return Ok(false);
    };
    while session.step().await? == Step::More {
        if shutdown.is_cancelled() {
            session.release().await?;
            break;
        }
    }
    Ok(true)
}

/// Deletes some of what imports have left; false when there is nothing left to delete.
///
/// # Errors
/// Those of the database.
pub async fn purge_once(core: &Core) -> Result<bool> {
    work::purge(core).await
}

/// An import that this node works on. Dropping it is what a crash does: the import
/// goes on when its lease has run out.
pub struct Session {
    core: Arc<Core>,
    work: Work,
    source: Source,
    bound: Option<Arc<Bound>>,
    /// The batch after the one that was written last.
    ready: Option<Ready>,
}

/// The stored file, read batch by batch.
struct Source {
    core: Arc<Core>,
    importer: Arc<Importer>,
    /// Away while its thread reads.
    reader: Option<Reader>,
    /// A record that was read to learn how many columns there are.
    first: Option<Record>,
    /// A row that was read to learn that an order has ended, and where it begins.
    held: Option<(ReadRow, Position)>,
    fed: u64,
}

/// Why reading has stopped.
enum Paused {
    Full,
    NeedsInput,
    Ended,
}

type Rows = Vec<ReadRow>;

impl Session {
    /// Takes an import that nobody works on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lease(core: &Arc<Core>) -> Result<Option<Self>> {
        let Some(work) = work::lease(core).await? else {
            return Ok(None);
        };
        let next = work.next();
        let source = Source {
            core: Arc::clone(core),
            importer: work.importer(),
            reader: Some(Reader::new(work.dialect(), next)),
            first: None,
            held: None,
            fed: next.offset,
        };
        Ok(Some(Self { core: Arc::clone(core), work, source, bound: None, ready: None }))
    }

    /// Gives the import back: this node stops.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release(self) -> Result<()> {
        self.work.release(&self.core).await
    }

    /// Commits one batch, and makes the next one ready meanwhile.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&mut self) -> Result<Step> {
        let bound = match &self.bound {
            Some(bound) => Arc::clone(bound),
            None => match self.bind().await? {
                Ok(bound) => Arc::clone(self.bound.insert(Arc::new(bound))),
                Err(Refusal { why, faults }) => return self.work.refuse(&self.core, why, faults).await,
            },
        };
        let Self { core, work, source, ready, .. } = self;
        let mut now = match ready.take() {
            Some(ready) => ready,
            None => Box::pin(source.make_ready(&bound, &Wake::default())).await?,
        };
        source.importer.prepare(core, &bound, &mut now).await;
        if now.is_last() {
            return Box::pin(commit(core, work, &bound, now)).await;
        }
        let wake = now.wake();
        let (committed, next) = tokio::join!(
            Box::pin(commit(core, work, &bound, now)),
            Box::pin(source.make_ready(&bound, &wake))
        );
        let step = committed?;
        if step == Step::More {
            *ready = Some(next?);
        }
        Ok(step)
    }

    /// Finds out the columns of the file.
    async fn bind(&mut self) -> Result<std::result::Result<Bound, Refusal>> {
        let plan = self.work.plan().clone();
        let mapping = plan.mapping();
        if mapping.format == Format::Ndjson {
            return Ok(plan.bind(&[]).map_err(Refusal::columns));
        }
        let named = mapping.csv.header;
        let header = match self.work.header() {
            Some(header) => header.to_vec(),
            None => match self.source.first_record().await? {
                Ok(None) => return Ok(Err(Refusal::empty())),
                Ok(Some(record)) if named => names(record),
                Ok(Some(record)) => {
                    let header = numbers(&record);
                    self.source.first = Some(record);
                    header
                }
                Err(fault) => return Ok(Err(Refusal::header(fault))),
            },
        };
        self.work.set_header(header.clone());
        Ok(plan.bind(&header).map_err(Refusal::columns))
    }
}

/// Commits a batch, and keeps the job while that takes long.
async fn commit(core: &Core, work: &mut Work, bound: &Bound, ready: Ready) -> Result<Step> {
    let keeper = work.keeper();
    let commit = work.commit(core, bound, ready);
    tokio::pin!(commit);
    loop {
        tokio::select! {
            committed = &mut commit => return committed,
            // Hooks may take their time over a batch.
            () = tokio::time::sleep(HEARTBEAT) => drop(keeper.renew(core).await?),
        }
    }
}

impl Source {
    /// Reads the next batch and makes it ready.
    async fn make_ready(&mut self, bound: &Arc<Bound>, wake: &Wake) -> Result<Ready> {
        let batch = self.next_batch(bound).await?;
        self.importer.make_ready(&self.core, bound, batch, wake).await
    }

    async fn next_batch(&mut self, bound: &Arc<Bound>) -> Result<Batch> {
        let first = self.first.take().map(|record| bound.row(record));
        let mut rows: Rows = first.into_iter().chain(self.held.take().map(|(row, _)| row)).collect();
        let is_last = loop {
            match self.read_rows(bound, &mut rows).await? {
                Paused::Full => break false,
                Paused::NeedsInput => self.feed().await?,
                Paused::Ended => break true,
            }
        };
        let next = match &self.held {
            Some((_, begins_at)) => *begins_at,
            None => self.reader()?.position(),
        };
        Ok(Batch { rows, next, is_last })
    }

    fn reader(&mut self) -> Result<&mut Reader> {
        self.reader
            .as_mut()
            .ok_or_else(|| Error::internal("the thread that read an import's rows has panicked"))
    }

    /// Reads records on a thread of their own until a batch is full or bytes are wanting.
    async fn read_rows(&mut self, bound: &Arc<Bound>, rows: &mut Rows) -> Result<Paused> {
        self.reader()?;
        let (Some(mut reader), bound, mut read) =
            (self.reader.take(), Arc::clone(bound), std::mem::take(rows))
        else {
            return Err(Error::internal("checked above"));
        };
        let thread = tokio::task::spawn_blocking(move || {
            let mut held = None;
            let most = if bound.has_lines() { BATCH_LINES_MAX } else { BATCH_ROWS_MAX };
            let paused = loop {
                if read.len() >= most {
                    break Paused::Full;
                }
                let begins_at = reader.position();
                let row = match reader.read() {
                    Next::Record(Ok(record)) => bound.row(record),
                    Next::Record(Err(fault)) => Err(Refused::from(fault)),
                    Next::NeedInput => break Paused::NeedsInput,
                    Next::End => break Paused::Ended,
                };
                if read.len() >= BATCH_ROWS_MAX && !lines::continues(&read, &row) {
                    held = Some((row, begins_at));
                    break Paused::Full;
                }
                read.push(row);
            };
            (reader, read, held, paused)
        });
        let (reader, read, held, paused) = thread.await.map_err(Error::internal)?;
        self.reader = Some(reader);
        self.held = held;
        *rows = read;
        Ok(paused)
    }

    async fn feed(&mut self) -> Result<()> {
        let bytes = self.importer.read(&self.core, self.fed).await?;
        self.fed += bytes.len() as u64;
        let reader = self.reader()?;
        if bytes.is_empty() {
            reader.end();
        } else {
            reader.feed(&bytes);
        }
        Ok(())
    }

    async fn first_record(&mut self) -> Result<std::result::Result<Option<Record>, RowFault>> {
        loop {
            match self.reader()?.read() {
                Next::Record(record) => return Ok(record.map(Some)),
                Next::NeedInput => self.feed().await?,
                Next::End => return Ok(Ok(None)),
            }
        }
    }
}

/// Why a file is not worth reading.
struct Refusal {
    why: ImportCode,
    faults: Vec<RowFault>,
}

impl Refusal {
    fn columns(faults: Vec<RowFault>) -> Self {
        Self { why: ImportCode::Columns, faults }
    }

    fn empty() -> Self {
        Self { why: ImportCode::Empty, faults: Vec::new() }
    }

    fn header(fault: RowFault) -> Self {
        Self { why: ImportCode::Header, faults: vec![fault] }
    }
}

fn fields(record: &Record) -> &[Field] {
    match &record.content {
        Content::Csv(fields) => fields,
        Content::Json(_) => &[],
    }
}

fn names(record: Record) -> Vec<String> {
    let name = |field: &Field| match field {
        Field::Text(text) => text.trim().to_owned(),
        Field::Undecodable(_) => String::new(),
    };
    fields(&record).iter().map(name).collect()
}

fn numbers(record: &Record) -> Vec<String> {
    (1..=fields(record).len()).map(|number| number.to_string()).collect()
}
