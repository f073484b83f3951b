//! Runs a future on a core of its own.

use std::convert::Infallible;
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use hulse_runtime::{CoreContext, Cores, CoresConfig, timeout};

/// Longer than anything here takes on a busy machine: a lost wake-up shows as this and not as a
/// hanging test.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// One core which the kernel may move, so that tests beside each other do not share a processor.
pub(crate) fn one_core() -> CoresConfig {
    CoresConfig {
        pin: false,
        ..CoresConfig::default()
    }
}

/// Runs `body` on one core and returns what it returned. A panic there fails the test here.
pub(crate) fn on_core<T, F>(body: impl FnOnce(CoreContext) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (result, results) = mpsc::channel();
    let mut body = Some(body);
    let mut cores = Cores::<Infallible>::start(&one_core(), |_core| {
        let body = body.take().expect("one core");
        let result = result.clone();
        move |context| async move {
            let value = timeout(LONG, body(context))
                .await
                .expect("the test ends in time");
            result.send(value).expect("the test waits");
            Ok(())
        }
    })
    .expect("the core starts");
    cores.wait().expect("the core ends well");
    results.recv().expect("the core has sent its result")
}
