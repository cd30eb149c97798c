//! Builders of options, under Ray's names. `#[remote]` makes one for each function and class; the methods are here.

pub use actinic_gcs::spec::{LabelMatch, LabelSelector};

pub use actinic_actors::options::{
    ActorOptions, Lifetime, OverflowPolicy, SchedulingStrategy, TaskOptions, RESTARTS_UNLIMITED,
};

// The arguments' names end in an underscore: a remote function is a value of its own name, which a pattern of the same
// name would refer to, and no program is likely to have a function of such a name.

/// The methods of a remote function's options.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_options {
    ($name:ident) => {
        #[allow(dead_code, unreachable_pub)]
        impl $name {
            /// CPUs it takes while it runs; 1 unless set.
            pub fn num_cpus(mut self, units_: impl Into<f64>) -> Self {
                self.options.set_resource("CPU", units_.into());
                self
            }
            /// GPUs it takes while it runs, a fraction of one or a whole number. See `actinic::gpu_ids`.
            pub fn num_gpus(mut self, units_: impl Into<f64>) -> Self {
                self.options.set_resource("GPU", units_.into());
                self
            }
            /// Bytes of memory it takes while it runs. Logical: nothing is enforced.
            pub fn memory(mut self, bytes_: u64) -> Self {
                self.options.set_resource("memory", bytes_ as f64);
                self
            }
            /// A resource of your own that it takes while it runs.
            pub fn resource(mut self, name_: &str, units_: impl Into<f64>) -> Self {
                self.options.set_resource(name_, units_.into());
                self
            }
            /// Its name in graphs and messages.
            pub fn name(mut self, name_: &'static str) -> Self {
                self.options.name = Some(name_);
                self
            }
            /// How often it may run again, 3 times unless set: after the loss of its worker, and after failures of its own
            /// only with `retry_exceptions`.
            pub fn max_retries(mut self, times_: u32) -> Self {
                self.options.max_retries = Some(times_);
                self
            }
            /// Runs it again after a failure of its own, an `Err` or a panic, if `decide` says so.
            pub fn retry_exceptions(
                mut self,
                decide_: impl Fn(&$crate::TaskError) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.options.retry_exceptions = Some(::std::sync::Arc::new(decide_));
                self
            }
            /// Where it may run.
            pub fn scheduling_strategy(mut self, strategy_: $crate::options::SchedulingStrategy) -> Self {
                self.options.strategy = strategy_;
                self
            }
            /// Runs it on a node whose label `key_` is as `text_` says: `value`, `!value`, `in(a, b)` or `!in(a, b)`.
            pub fn label_selector(mut self, key_: &str, text_: &str) -> Self {
                self.options.labels = ::std::mem::take(&mut self.options.labels).with(key_, text_);
                self
            }
            /// Runs it in a placement group, in one bundle of it or in any.
            pub fn placement_group(mut self, group_: &$crate::PlacementGroup, bundle_: impl Into<Option<u32>>) -> Self {
                self.options.strategy = group_.strategy(bundle_.into());
                self
            }
            /// For a streaming task: how many objects it may be ahead of its consumer.
            pub fn backpressure(mut self, objects_: usize) -> Self {
                self.options.backpressure = Some(objects_);
                self
            }
        }
    };
}

/// The methods of a class's options.
#[doc(hidden)]
#[macro_export]
macro_rules! __actor_options {
    ($name:ident, $class:ty) => {
        #[allow(dead_code, unreachable_pub)]
        impl $name {
            /// CPUs it holds as long as it lives; none unless set.
            pub fn num_cpus(mut self, units_: impl Into<f64>) -> Self {
                self.creation.options.set_resource("CPU", units_.into());
                self
            }
            /// GPUs it holds as long as it lives. See `actinic::gpu_ids`.
            pub fn num_gpus(mut self, units_: impl Into<f64>) -> Self {
                self.creation.options.set_resource("GPU", units_.into());
                self
            }
            /// Bytes of memory it holds. Logical: nothing is enforced.
            pub fn memory(mut self, bytes_: u64) -> Self {
                self.creation.options.set_resource("memory", bytes_ as f64);
                self
            }
            /// A resource of your own that it holds.
            pub fn resource(mut self, name_: &str, units_: impl Into<f64>) -> Self {
                self.creation.options.set_resource(name_, units_.into());
                self
            }
            /// The name under which it can be found.
            pub fn name(mut self, name_: impl Into<String>) -> Self {
                self.creation.options.name = Some(name_.into());
                self
            }
            /// The namespace of its name.
            pub fn namespace(mut self, namespace_: impl Into<String>) -> Self {
                self.creation.options.namespace = Some(namespace_.into());
                self
            }
            /// Shares the actor of that name where there is one.
            pub fn get_if_exists(mut self, share_: bool) -> Self {
                self.creation.options.get_if_exists = share_;
                self
            }
            /// How long it lives.
            pub fn lifetime(mut self, lifetime_: $crate::options::Lifetime) -> Self {
                self.creation.options.lifetime = lifetime_;
                self
            }
            /// How often it is restarted after a crash; 0 unless set, -1 without end.
            pub fn max_restarts(mut self, times_: i64) -> Self {
                self.creation.options.max_restarts = $crate::__private::restart_limit(times_);
                self
            }
            /// Counts restarts within this time only: the restart intensity.
            pub fn restart_window(mut self, window_: ::std::time::Duration) -> Self {
                self.creation.options.restart_window = Some(window_);
                self
            }
            /// When it is restarted: never, on failure, or always.
            pub fn restart_policy(mut self, policy_: $crate::supervision::RestartPolicy) -> Self {
                self.creation.options.restart_policy = policy_;
                self
            }
            /// How long it waits before a restart.
            pub fn backoff(mut self, backoff_: $crate::supervision::Backoff) -> Self {
                self.creation.options.backoff = backoff_;
                self
            }
            /// How often a call that crashed it is tried again.
            pub fn max_task_retries(mut self, times_: u32) -> Self {
                self.creation.options.max_task_retries = times_;
                self
            }
            /// How many calls may run at once; 1 unless set, 1,000 `async` ones.
            pub fn max_concurrency(mut self, calls_: usize) -> Self {
                self.creation.options.max_concurrency = Some(calls_);
                self
            }
            /// How many calls of the methods in a named group may run at once.
            pub fn concurrency_group(mut self, group_: &str, calls_: usize) -> Self {
                self.creation.options.concurrency_groups.push((group_.to_owned(), calls_));
                self
            }
            /// The bound of its mailbox.
            pub fn max_pending_calls(mut self, calls_: usize) -> Self {
                self.creation.options.max_pending_calls = calls_;
                self
            }
            /// What happens to a call over that bound.
            pub fn overflow(mut self, policy_: $crate::options::OverflowPolicy) -> Self {
                self.creation.options.overflow = policy_;
                self
            }
            /// Its supervisor.
            pub fn supervisor(mut self, supervisor_: &$crate::Supervisor) -> Self {
                self.creation.options.supervisor = Some(supervisor_.id());
                self
            }
            /// Where it may live.
            pub fn scheduling_strategy(mut self, strategy_: $crate::options::SchedulingStrategy) -> Self {
                self.creation.options.strategy = strategy_;
                self
            }
            /// Places it on a node whose label `key_` is as `text_` says: `value`, `!value`, `in(a, b)` or `!in(a, b)`.
            pub fn label_selector(mut self, key_: &str, text_: &str) -> Self {
                self.creation.options.labels = ::std::mem::take(&mut self.creation.options.labels).with(key_, text_);
                self
            }
            /// Places it in a placement group, in one bundle of it or in any.
            pub fn placement_group(mut self, group_: &$crate::PlacementGroup, bundle_: impl Into<Option<u32>>) -> Self {
                self.creation.options.strategy = group_.strategy(bundle_.into());
                self
            }
            /// Saves its state after every so many calls; a restart goes on from there.
            pub fn checkpoint_every(mut self, calls_: u64) -> Self
            where
                for<'any> $class: $crate::__private::Serialize + $crate::__private::DeserializeOwned,
            {
                self.creation.checkpoints = Some($crate::__private::checkpoint_fns(calls_));
                self
            }
        }
    };
}
