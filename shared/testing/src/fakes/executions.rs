use std::{collections::BTreeMap, mem, sync::Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_backup::{
    job::{Caught, Job},
    ports::{ExecutionStatus, Executions, ExecutionsError},
};

/// Executions that only note that they were started.
#[derive(Default)]
pub struct FakeExecutions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    started: Vec<Job>,
    aborts: Vec<(String, Job, Caught)>,
    statuses: BTreeMap<String, ExecutionStatus>,
    unserved: Vec<(Job, Option<Caught>)>,
}

impl FakeExecutions {
    /// The jobs that were started, in order; a second start of one does not show.
    pub fn started(&self) -> Vec<Job> {
        self.state.lock().unwrap().started.clone()
    }

    /// The jobs that an abort was started for, in order, and why; a second start under one name does not show.
    pub fn aborts(&self) -> Vec<(Job, Caught)> {
        let state = self.state.lock().unwrap();
        state.aborts.iter().map(|(_, job, reason)| (job.clone(), reason.clone())).collect()
    }

    /// The executions that were started since it was last asked, in order; one that only aborts its job with the reason.
    pub fn take_unserved(&self) -> Vec<(Job, Option<Caught>)> {
        mem::take(&mut self.state.lock().unwrap().unserved)
    }

    /// Lets a job's execution end, without anybody having cleaned up and without saying why.
    pub fn end(&self, job: &Job) {
        self.end_with(job, None);
    }

    /// Lets a job's execution end with this error, without anybody having cleaned up.
    pub fn end_with(&self, job: &Job, error: Option<Caught>) {
        let ended = ExecutionStatus::Ended(error);
        self.state.lock().unwrap().statuses.insert(job.execution_name(), ended);
    }

    /// Forgets a job's execution, as Step Functions does 90 days after its end.
    pub fn forget(&self, job: &Job) {
        self.state.lock().unwrap().statuses.remove(&job.execution_name());
    }
}

#[async_trait]
impl Executions for FakeExecutions {
    async fn start(&self, job: &Job) -> Result<(), ExecutionsError> {
        let mut state = self.state.lock().unwrap();
        if state.statuses.contains_key(&job.execution_name()) {
            return Ok(());
        }
        state.statuses.insert(job.execution_name(), ExecutionStatus::Running);
        state.started.push(job.clone());
        state.unserved.push((job.clone(), None));
        Ok(())
    }

    async fn start_abort(
        &self,
        job: &Job,
        reason: &Caught,
        now: DateTime<Utc>,
    ) -> Result<(), ExecutionsError> {
        let mut state = self.state.lock().unwrap();
        let name = job.abort_name(now);
        if !state.aborts.iter().any(|(used, ..)| *used == name) {
            state.aborts.push((name, job.clone(), reason.clone()));
            state.unserved.push((job.clone(), Some(reason.clone())));
        }
        Ok(())
    }

    async fn status(&self, job: &Job) -> Result<ExecutionStatus, ExecutionsError> {
        let state = self.state.lock().unwrap();
        Ok(state.statuses.get(&job.execution_name()).cloned().unwrap_or(ExecutionStatus::Missing))
    }
}
