//! Who this process is to the API server: a token in each of its requests.
//!
//! The library's own way is not taken, since it knows programs that make tokens, which this process may not start, and a whole
//! query language for what they say.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderValue, Request, header};
use kube::config::AuthInfo;
use secrecy::ExposeSecret as _;

use crate::clock::Instant;
use crate::sensitive::ServiceAccountToken;

/// Kubelet writes a new token long before the old one expires.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The token, if there is one.
#[derive(Clone)]
pub struct Authorization(Option<Arc<Source>>);

enum Source {
    Fixed(HeaderValue),
    File { path: PathBuf, last: Mutex<(HeaderValue, Instant)> },
}

impl Authorization {
    /// # Errors
    /// A file that cannot be read, and a way that is not taken here, with what to do.
    pub fn of(user: &AuthInfo) -> anyhow::Result<Self> {
        for (is_set, what) in [
            (user.exec.is_some(), "exec"),
            (user.auth_provider.is_some(), "auth-provider"),
            (user.username.is_some() || user.password.is_some(), "username and password"),
        ] {
            anyhow::ensure!(
                !is_set,
                "the kubeconfig's user has {what}, which this provider does not use; give it tokenFile, token, or a client certificate"
            );
        }
        let source = match (&user.token_file, &user.token) {
            (Some(path), _) => {
                let path = PathBuf::from(path);
                let token = read(&path)?;
                Some(Source::File { path, last: Mutex::new((token, Instant::now())) })
            }
            (None, Some(token)) => Some(Source::Fixed(bearer(token.expose_secret())?)),
            (None, None) => None,
        };
        Ok(Self(source.map(Arc::new)))
    }

    /// Puts the token into a request.
    pub fn sign<B>(&self, mut request: Request<B>) -> Request<B> {
        let token = match self.0.as_deref() {
            None => return request,
            Some(Source::Fixed(token)) => token.clone(),
            Some(Source::File { path, last }) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.1.elapsed() >= READ_AGAIN_AFTER {
                    // One that cannot be read for a moment leaves the one before, as client-go does.
                    let token = read(path).unwrap_or_else(|_| last.0.clone());
                    *last = (token, Instant::now());
                }
                last.0.clone()
            }
        };
        request.headers_mut().insert(header::AUTHORIZATION, token);
        request
    }
}

fn read(path: &PathBuf) -> anyhow::Result<HeaderValue> {
    let read = || -> anyhow::Result<HeaderValue> {
        let token = ServiceAccountToken::from(fs::read_to_string(path)?);
        bearer(token.expose())
    };
    read().with_context(|| format!("the token in {} cannot be used", path.display()))
}

/// <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>
fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    let token = token.trim();
    anyhow::ensure!(!token.is_empty(), "it is empty");
    // What is not a header's value must not be in the error either.
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| anyhow::anyhow!("it is no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use kube::config::ExecConfig;

    use super::*;

    fn sent(authorization: &Authorization) -> Option<String> {
        let request = authorization.sign(Request::new(()));
        let value = request.headers().get(header::AUTHORIZATION)?;
        assert!(value.is_sensitive());
        Some(value.to_str().expect("text").to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_in_a_file_is_read_again_and_again_and_an_old_one_is_better_than_none() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "one\n").expect("written");
        let user = AuthInfo { token_file: Some(file.path().display().to_string()), ..AuthInfo::default() };
        let authorization = Authorization::of(&user).expect("taken");
        fs::write(file.path(), "two\n").expect("written");
        assert_eq!(sent(&authorization).as_deref(), Some("Bearer one"));
        tokio::time::advance(READ_AGAIN_AFTER).await;
        assert_eq!(sent(&authorization).as_deref(), Some("Bearer two"));
        for broken in ["", "a\nb"] {
            fs::write(file.path(), broken).expect("written");
            tokio::time::advance(READ_AGAIN_AFTER).await;
            assert_eq!(sent(&authorization).as_deref(), Some("Bearer two"), "{broken:?}");
        }
    }

    #[test]
    fn ways_that_are_not_taken_are_named_and_no_error_has_the_token() {
        let exec = AuthInfo { exec: serde_json::from_str::<ExecConfig>("{}").ok(), ..AuthInfo::default() };
        let basic = AuthInfo { username: Some("admin".into()), ..AuthInfo::default() };
        for (user, what) in [(exec, "has exec"), (basic, "has username and password")] {
            let error = format!("{:#}", Authorization::of(&user).err().expect("refused"));
            assert!(error.contains(what) && error.contains("tokenFile"), "{error}");
        }
        let broken = AuthInfo { token: Some("planted\nsecret".to_owned().into()), ..AuthInfo::default() };
        let error = format!("{:#}", Authorization::of(&broken).err().expect("refused"));
        assert!(!error.contains("planted"), "{error}");
        assert_eq!(sent(&Authorization::of(&AuthInfo::default()).expect("nobody")), None);
    }
}
