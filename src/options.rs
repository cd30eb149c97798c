//! Builders of options, under Ray's names. `#[remote]` makes one for each function and class; the methods are here.

pub use actinic_actors::options::{
    ActorOptions, Lifetime, OverflowPolicy, SchedulingStrategy, TaskOptions, RESTARTS_UNLIMITED,
};

/// The methods of a remote function's options.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_options {
    ($name:ident) => {
        #[allow(dead_code, unreachable_pub)]
        impl $name {
            /// CPUs it takes while it runs; 1 unless set.
            pub fn num_cpus(mut self, units: impl Into<f64>) -> Self {
                self.options.set_resource("CPU", units.into());
                self
            }
            /// GPUs it takes while it runs, a fraction of one or a whole number. See `actinic::gpu_ids`.
            pub fn num_gpus(mut self, units: impl Into<f64>) -> Self {
                self.options.set_resource("GPU", units.into());
                self
            }
            /// Bytes of memory it takes while it runs. Logical: nothing is enforced.
            pub fn memory(mut self, bytes: u64) -> Self {
                self.options.set_resource("memory", bytes as f64);
                self
            }
            /// A resource of your own that it takes while it runs.
            pub fn resource(mut self, name: &str, units: impl Into<f64>) -> Self {
                self.options.set_resource(name, units.into());
                self
            }
            /// Its name in graphs and messages.
            pub fn name(mut self, name: &'static str) -> Self {
                self.options.name = Some(name);
                self
            }
            /// How often it may run again. Failures of its own count only with `retry_exceptions`.
            pub fn max_retries(mut self, times: u32) -> Self {
                self.options.max_retries = times;
                self
            }
            /// Runs it again after a failure of its own, an `Err` or a panic, if `decide` says so.
            pub fn retry_exceptions(
                mut self,
                decide: impl Fn(&$crate::TaskError) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.options.retry_exceptions = Some(::std::sync::Arc::new(decide));
                if self.options.max_retries == 0 {
                    self.options.max_retries = 3;
                }
                self
            }
            /// Where it may run.
            pub fn scheduling_strategy(mut self, strategy: $crate::options::SchedulingStrategy) -> Self {
                self.options.strategy = strategy;
                self
            }
            /// Runs it in a placement group, in one bundle of it or in any.
            pub fn placement_group(
                mut self,
                group: &$crate::PlacementGroup,
                bundle: impl Into<Option<u32>>,
            ) -> Self {
                self.options.strategy = group.strategy(bundle.into());
                self
            }
            /// For a streaming task: how many objects it may be ahead of its consumer.
            pub fn backpressure(mut self, objects: usize) -> Self {
                self.options.backpressure = Some(objects);
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
            pub fn num_cpus(mut self, units: impl Into<f64>) -> Self {
                self.creation.options.set_resource("CPU", units.into());
                self
            }
            /// GPUs it holds as long as it lives. See `actinic::gpu_ids`.
            pub fn num_gpus(mut self, units: impl Into<f64>) -> Self {
                self.creation.options.set_resource("GPU", units.into());
                self
            }
            /// Bytes of memory it holds. Logical: nothing is enforced.
            pub fn memory(mut self, bytes: u64) -> Self {
                self.creation.options.set_resource("memory", bytes as f64);
                self
            }
            /// A resource of your own that it holds.
            pub fn resource(mut self, name: &str, units: impl Into<f64>) -> Self {
                self.creation.options.set_resource(name, units.into());
                self
            }
            /// The name under which it can be found.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.creation.options.name = Some(name.into());
                self
            }
            /// The namespace of its name.
            pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
                self.creation.options.namespace = Some(namespace.into());
                self
            }
            /// Shares the actor of that name where there is one.
            pub fn get_if_exists(mut self, share: bool) -> Self {
                self.creation.options.get_if_exists = share;
                self
            }
            /// How long it lives.
            pub fn lifetime(mut self, lifetime: $crate::options::Lifetime) -> Self {
                self.creation.options.lifetime = lifetime;
                self
            }
            /// How often it is restarted after a crash; 0 unless set, -1 without end.
            pub fn max_restarts(mut self, times: i64) -> Self {
                self.creation.options.max_restarts = $crate::__private::restart_limit(times);
                self
            }
            /// Counts restarts within this time only: the restart intensity.
            pub fn restart_window(mut self, window: ::std::time::Duration) -> Self {
                self.creation.options.restart_window = Some(window);
                self
            }
            /// When it is restarted: never, on failure, or always.
            pub fn restart_policy(mut self, policy: $crate::supervision::RestartPolicy) -> Self {
                self.creation.options.restart_policy = policy;
                self
            }
            /// How long it waits before a restart.
            pub fn backoff(mut self, backoff: $crate::supervision::Backoff) -> Self {
                self.creation.options.backoff = backoff;
                self
            }
            /// How often a call that crashed it is tried again.
            pub fn max_task_retries(mut self, times: u32) -> Self {
                self.creation.options.max_task_retries = times;
                self
            }
            /// How many calls may run at once; 1 unless set, 1,000 `async` ones.
            pub fn max_concurrency(mut self, calls: usize) -> Self {
                self.creation.options.max_concurrency = Some(calls);
                self
            }
            /// How many calls of the methods in a named group may run at once.
            pub fn concurrency_group(mut self, group: &str, calls: usize) -> Self {
                self.creation.options.concurrency_groups.push((group.to_owned(), calls));
                self
            }
            /// The bound of its mailbox.
            pub fn max_pending_calls(mut self, calls: usize) -> Self {
                self.creation.options.max_pending_calls = calls;
                self
            }
            /// What happens to a call over that bound.
            pub fn overflow(mut self, policy: $crate::options::OverflowPolicy) -> Self {
                self.creation.options.overflow = policy;
                self
            }
            /// Its supervisor.
            pub fn supervisor(mut self, supervisor: &$crate::Supervisor) -> Self {
                self.creation.options.supervisor = Some(supervisor.id());
                self
            }
            /// Where it may live.
            pub fn scheduling_strategy(mut self, strategy: $crate::options::SchedulingStrategy) -> Self {
                self.creation.options.strategy = strategy;
                self
            }
            /// Places it in a placement group, in one bundle of it or in any.
            pub fn placement_group(
                mut self,
                group: &$crate::PlacementGroup,
                bundle: impl Into<Option<u32>>,
            ) -> Self {
                self.creation.options.strategy = group.strategy(bundle.into());
                self
            }
            /// Saves its state after every so many calls; a restart goes on from there.
            pub fn checkpoint_every(mut self, calls: u64) -> Self
            where
                for<'any> $class: $crate::__private::Serialize + $crate::__private::DeserializeOwned,
            {
                self.creation.checkpoints = Some($crate::__private::checkpoint_fns(calls));
                self
            }
        }
    };
}
