//! An execution of the state machine, as `statemachines/job.asl.json` has it, with its waits and its branches side by side.

use std::{cell::RefCell, rc::Rc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_backup::job::{Answer, CANCELLED, Call, Caught, Job, PERMANENT, Range};
use holdfast_domain::id::ApplicationId;
use tokio::sync::oneshot;

/// Branches that run at a time.
const BRANCHES: usize = 4;

/// What an execution wants next.
pub(super) enum Request {
    /// An invocation of the worker.
    Worker(Call, oneshot::Sender<Result<Answer, Caught>>),
    /// An invocation of retention, for one application.
    Retention(ApplicationId, oneshot::Sender<Result<Answer, Caught>>),
    /// To be called again after so many seconds.
    Wait(i64, oneshot::Sender<()>),
    /// The same, after any time up to so many seconds.
    WaitUpTo(i64, oneshot::Sender<()>),
}

/// Where executions leave what they want.
#[derive(Clone, Default)]
pub(super) struct Requests(Rc<RefCell<Vec<Request>>>);

impl Requests {
    pub(super) fn take(&self) -> Vec<Request> {
        self.0.take()
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> T {
        let (sender, answer) = oneshot::channel();
        self.0.borrow_mut().push(request(sender));
        match answer.await {
            Ok(answer) => answer,
            // The history is over.
            Err(_) => std::future::pending().await,
        }
    }

    /// An invocation, tried again after `first` seconds, and `rate` times as many after each failure.
    async fn invoke(
        &self,
        attempts: u32,
        (first, rate): (i64, i64),
        is_final: impl Fn(&Caught) -> bool,
        request: impl Fn(oneshot::Sender<Result<Answer, Caught>>) -> Request,
    ) -> Result<Answer, Caught> {
        let (mut attempt, mut seconds) = (1, first);
        loop {
            let caught = match self.ask(&request).await {
                Ok(answer) => return Ok(answer),
                Err(caught) => caught,
            };
            if attempt == attempts || is_final(&caught) {
                return Err(caught);
            }
            self.ask(|done| Request::WaitUpTo(seconds, done)).await;
            (attempt, seconds) = (attempt + 1, (seconds * rate).min(300));
        }
    }

    async fn slice(&self, job: &Job, range: Option<&Range>) -> Result<Answer, Caught> {
        let is_final = |caught: &Caught| [PERMANENT, CANCELLED].contains(&caught.error.as_str());
        self.invoke(5, (5, 3), is_final, |done| {
            Request::Worker(Call::Slice { job: job.clone(), range: range.cloned() }, done)
        })
        .await
    }

    async fn slices(&self, job: &Job) -> Result<(), Caught> {
        loop {
            match self.slice(job, None).await? {
                Answer::Done => return Ok(()),
                Answer::Continue => {}
                Answer::Wait { seconds } => self.ask(|done| Request::Wait(seconds.into(), done)).await,
                Answer::FanOut { ranges } => {
                    // When one fails, the others are given up; what they have called runs on.
                    let branches =
                        stream::iter(ranges).map(|range| async move { self.branch(job, &range).await });
                    branches.buffer_unordered(BRANCHES).try_collect::<()>().await?;
                }
            }
        }
    }

    async fn branch(&self, job: &Job, range: &Range) -> Result<(), Caught> {
        loop {
            match self.slice(job, Some(range)).await? {
                Answer::Done => return Ok(()),
                Answer::Continue => {}
                Answer::Wait { seconds } => self.ask(|done| Request::Wait(seconds.into(), done)).await,
                Answer::FanOut { .. } => {
                    let cause =
                        "the worker gave an answer for a range that is none of done, continue and wait";
                    return Err(Caught { error: PERMANENT.to_owned(), cause: cause.to_owned() });
                }
            }
        }
    }
}

/// One execution, to its end: of a job, or of one that only aborts it. Answers with the error it ended with.
pub(super) async fn execution(requests: Requests, job: Job, abort: Option<Caught>) -> Option<Caught> {
    let caught = if let Some(caught) = abort {
        caught
    } else if let Err(caught) = requests.slices(&job).await {
        caught
    } else {
        let (Job::Backup { application, .. }
        | Job::Undelete { application, .. }
        | Job::Restore { application, .. }
        | Job::Verify { application, .. }
        | Job::Sweep { application, .. }) = &job;
        // What goes wrong here is left to the nightly run.
        let _ =
            requests.invoke(3, (5, 2), |_| false, |done| Request::Retention(application.clone(), done)).await;
        return None;
    };
    let abort = |done| Request::Worker(Call::Abort { job: job.clone(), error: caught.clone() }, done);
    while let Ok(Answer::Wait { seconds }) = requests.invoke(11, (5, 2), |_| false, abort).await {
        requests.ask(|done| Request::Wait(seconds.into(), done)).await;
    }
    Some(caught)
}
