//! Which of two places' answers counts.

use std::future::Future;
use std::time::Duration;

use super::{FetchError, Verdict};
use crate::reason::chain;

/// How long a standby's good answer waits for the primary's. The primary usually answers within a tenth of that, and a
/// Region that is gone costs every mount no more than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks both at the same time. The primary's value is served as soon as it is there. The standby's is served when the
/// primary has failed without having looked ([`Verdict::Open`]), or has said nothing for [`PATIENCE`] after the standby has.
///
/// # Errors
/// The primary's final word, or both errors.
pub async fn settle<V>(
    primary: impl Future<Output = Result<V, FetchError>>,
    standby: impl Future<Output = Result<V, FetchError>>,
) -> Result<V, FetchError> {
    let (mut primary, mut standby) = (std::pin::pin!(primary), std::pin::pin!(standby));
    tokio::select! {
        biased;
        first = &mut primary => match first {
            Err(error) if error.verdict() == Verdict::Open => standby.await.map_err(|other| both(error, other)),
            decided => decided,
        },
        first = &mut standby => match first {
            Ok(value) => match tokio::time::timeout(PATIENCE, primary).await {
                Ok(Err(error)) if error.verdict() == Verdict::Open => Ok(value),
                Ok(decided) => decided,
                Err(_) => Ok(value),
            },
            Err(other) => primary.await.map_err(|error| match error.verdict() {
                Verdict::Open => both(error, other),
                Verdict::Final => error,
            }),
        },
    }
}

/// What stands in the way of both, such as a missing annotation, is said once.
fn both(primary: FetchError, standby: FetchError) -> FetchError {
    match chain(&primary) == chain(&standby) {
        true => primary,
        false => FetchError::Both { primary: Box::new(primary), standby: Box::new(standby) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::reason::{Explained as _, Reason};

    /// What a place says, and after how many milliseconds.
    #[derive(Debug, Clone, Copy)]
    enum Says {
        Value(u64),
        NotThere(u64),
        Fails(u64),
        Nothing,
    }

    async fn says(what: Says, place: &'static str) -> Result<&'static str, FetchError> {
        // On a paused clock: what is waited for comes at its time, and none passes.
        let after = |milliseconds| tokio::time::sleep(Duration::from_millis(milliseconds));
        let failed = |reason, verdict| Err(FetchError::Backend { reason, message: place.into(), verdict, said: None });
        match what {
            Says::Value(milliseconds) => after(milliseconds).await,
            Says::NotThere(milliseconds) => {
                after(milliseconds).await;
                return failed(Reason::SecretNotFound, Verdict::Final);
            }
            Says::Fails(milliseconds) => {
                after(milliseconds).await;
                return failed(Reason::AwsUnavailable, Verdict::Open);
            }
            Says::Nothing => std::future::pending().await,
        }
        Ok(place)
    }

    /// What is served, or why not, and after how many milliseconds. Nothing within a minute is nothing.
    async fn settled(primary: Says, standby: Says) -> (Option<Result<&'static str, Reason>>, u128) {
        let began = Instant::now();
        let settling = settle(says(primary, "primary"), says(standby, "standby"));
        let result = tokio::time::timeout(Duration::from_secs(60), settling).await.ok();
        (result.map(|result| result.map_err(|error| error.reason())), began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn f38_the_primary_counts_while_it_can_answer_and_the_standby_when_it_cannot() {
        use Says::{Fails, NotThere, Nothing, Value};
        let refused = Some(Err(Reason::SecretNotFound));
        for (primary, standby, expected, after) in [
            (Value(10), Value(1), Some(Ok("primary")), 10),
            (Value(1_900), Value(1), Some(Ok("primary")), 1_900),
            (Value(10), NotThere(1), Some(Ok("primary")), 10),
            (Value(10), Fails(1), Some(Ok("primary")), 10),
            (Value(10), Nothing, Some(Ok("primary")), 10),
            (Value(5_000), Value(1), Some(Ok("standby")), 2_001),
            (Nothing, Value(100), Some(Ok("standby")), 2_100),
            (Fails(10), Value(1), Some(Ok("standby")), 10),
            (Fails(1), Value(10), Some(Ok("standby")), 10),
            (NotThere(10), Value(1), refused, 10),
            (NotThere(1), Value(10), refused, 1),
            (NotThere(10), NotThere(1), refused, 10),
            (NotThere(10), Fails(1), refused, 10),
            (Fails(1), NotThere(10), Some(Err(Reason::AwsUnavailable)), 10),
            (Fails(10), Fails(1), Some(Err(Reason::AwsUnavailable)), 10),
            (Nothing, NotThere(1), None, 60_000),
            (Nothing, Nothing, None, 60_000),
        ] {
            let (seen, at) = settled(primary, standby).await;
            assert_eq!(seen, expected, "{primary:?} and {standby:?}");
            // Timers of tokio have the grain of a millisecond.
            assert!((after..=after + 2).contains(&at), "{primary:?} and {standby:?}: after {at} ms");
        }
    }

    #[tokio::test]
    async fn both_errors_are_told_unless_they_are_one() {
        let failed = |message: &str| {
            std::future::ready(Err::<(), _>(FetchError::Backend {
                reason: Reason::AwsUnavailable,
                message: message.into(),
                verdict: Verdict::Open,
                said: None,
            }))
        };
        let text =
            async |primary, standby| settle(failed(primary), failed(standby)).await.expect_err("both fail").to_string();
        assert_eq!(text("here", "there").await, "here; and instead of it there");
        assert_eq!(text("no role", "no role").await, "no role");
    }
}
