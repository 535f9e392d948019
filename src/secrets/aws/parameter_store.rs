//! AWS Systems Manager Parameter Store.
//!
//! Its calls are few (40 a second for a whole account and Region), so parameters are read ten at a time. Answers come in an
//! order of AWS's own; each is found by name or ARN and selector.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::Builder;
use aws_sdk_ssm::error::{BuildError, SdkError};
use aws_sdk_ssm::operation::RequestId as _;
use aws_sdk_ssm::operation::get_parameters::{GetParametersError, GetParametersOutput};
use aws_sdk_ssm::types::{Parameter as Answered, ParameterStringFilter};
use futures_util::FutureExt as _;

use super::lists::{MostOfLists, Page, entries, value_of_names};
use super::pace::{Pace, Paces};
use super::{Session, unmodelled};
use crate::aws::{Clients, Tries, counted};
use crate::plan::aws::{Arn, Filter, Item, Parameter, Path, Region, Stored};
use crate::random;
use crate::reason::{Explained as _, Reason};
use crate::secrets::{FetchError, Said, SecretValue, Source, Verdict};
use crate::sensitive::SecretBytes;
use crate::telemetry::{Api, metrics};

const SERVICE: &str = "Parameter Store";
const REMEDY: &str = "grant ssm:GetParameters on it, or correct objectName or `region`";
const REMEDY_BELOW: &str = "grant ssm:GetParametersByPath on the path, or correct `path` or `region`";
/// No list can be narrowed by a policy.
const REMEDY_OF_LISTS: &str = "grant ssm:DescribeParameters on all resources, or write a `path` without tags, which ssm:GetParametersByPath is asked for";
/// What pages are asked for with.
const BELOW: &str = "GetParametersByPath";
const OF_ALL: &str = "DescribeParameters";
/// Most entries of a page with values and of one without.
const A_PAGE_BELOW: i32 = 10;
const A_PAGE: i32 = 50;
/// Most names that a call may have.
const NAMES_A_CALL: usize = 10;
/// More would only wait for each other: the pace decides, and what waits behind it cannot be overtaken by another namespace.
pub const CALLS_AT_ONCE: usize = 16;
/// How often a call is tried at once, each time at the pace of all, and how long after the first try.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Reads from Parameter Store, in any Region, for any session.
pub struct ParameterStore {
    clients: Clients<Client>,
    paces: Paces,
}

/// As few calls as possible, none of which names one parameter twice: AWS documents no answer to that, and not every double
/// of AWS gives the selector back that would tell two versions apart.
pub fn calls(parameters: Vec<Arc<Stored>>) -> Vec<Vec<Arc<Stored>>> {
    let mut calls: Vec<(HashSet<String>, Vec<Arc<Stored>>)> = Vec::new();
    for address in parameters {
        let key = match &address.item {
            Item::Parameter(parameter) => path_of(&parameter.name).to_owned(),
            Item::Secret(_) | Item::List(_) => continue,
        };
        let has_room =
            |(keys, call): &&mut (HashSet<String>, Vec<Arc<Stored>>)| call.len() < NAMES_A_CALL && !keys.contains(&key);
        match calls.iter_mut().find(has_room) {
            Some((keys, call)) => {
                keys.insert(key);
                call.push(address);
            }
            None => calls.push((HashSet::from([key]), vec![address])),
        }
    }
    calls.into_iter().map(|(_, call)| call).collect()
}

/// A parameter's path, whether named by it or by ARN. The ARNs of `a` and of `/a` are the same.
fn path_of(name: &str) -> &str {
    let resource = Arn::parse(name).and_then(|arn| arn.resource.strip_prefix("parameter"));
    resource.unwrap_or(name).trim_start_matches('/')
}

impl ParameterStore {
    pub fn new(config: SdkConfig) -> Self {
        // The SDK would try again past the pace.
        let make = |config: &SdkConfig, _| {
            Client::from_conf(Builder::from(config).retry_config(RetryConfig::disabled()).build())
        };
        Self { clients: Clients::new(config, "ssm", make), paces: Paces::default() }
    }

    /// Needs `ssm:GetParameters` on every parameter of the call, and `kms:Decrypt` where one is encrypted with a key of its
    /// own. One that may not be read fails the whole call.
    pub async fn read(&self, session: &Session, call: &[Arc<Stored>]) -> Vec<Result<SecretValue, FetchError>> {
        let Some(Stored { region, .. }) = call.first().map(|first| &**first) else { return Vec::new() };
        let api = api("GetParameters");
        let mut attempts = Attempts::at(self.paces.of(session.account(), region), api);
        loop {
            attempts.turn().await;
            let error = match counted(api, self.ask(session, region, call)).await {
                Ok(answer) => {
                    attempts.went_well();
                    return call.iter().map(|address| value_of(&answer, address, &session.role)).collect();
                }
                Err(error) => explain(&error, call, &session.role),
            };
            if let Err(error) = attempts.failed(error).await {
                return call.iter().map(|_| Err(error.clone())).collect();
            }
        }
    }

    /// Names of parameters. Those of a path can be had by whom a policy allows that path (`ssm:GetParametersByPath`), all others
    /// by whom it allows the names of all (`ssm:DescribeParameters`).
    pub async fn list(
        &self,
        session: &Session,
        filter: &Filter,
        address: &Stored,
        most: MostOfLists,
    ) -> Result<SecretValue, FetchError> {
        let page = |next| self.page(session, filter, address, next).boxed();
        value_of_names(entries(address, most, page).await?, address, most)
    }

    async fn page(
        &self,
        session: &Session,
        filter: &Filter,
        address: &Stored,
        next: Option<String>,
    ) -> Result<Page<String>, FetchError> {
        let path = filter.path.as_ref().filter(|_| filter.tags.is_empty());
        let api = api(if path.is_some() { BELOW } else { OF_ALL });
        let mut attempts = Attempts::at(self.paces.of(session.account(), &address.region), api);
        loop {
            attempts.turn().await;
            let page = match path {
                Some(path) => self.page_below(session, path, address, next.clone()).await,
                None => self.page_of_all(session, filter, address, next.clone()).await,
            };
            match page {
                Ok(mut page) => {
                    attempts.went_well();
                    page.entries.retain(|name| filter.takes(name));
                    return Ok(page);
                }
                Err(error) => attempts.failed(error).await?,
            }
        }
    }

    /// Values come along, but not those that are encrypted.
    async fn page_below(
        &self,
        session: &Session,
        path: &Path,
        address: &Stored,
        next: Option<String>,
    ) -> Result<Page<String>, FetchError> {
        let credentials = Builder::new().credentials_provider(session.credentials.clone());
        let request = self.clients.of(&address.region, session.tenant, Tries::All).get_parameters_by_path();
        let request = request.path(path.asked()).recursive(path.is_recursive).max_results(A_PAGE_BELOW);
        let request = request.set_next_token(next).customize().config_override(credentials);
        let answer = counted(api(BELOW), request.send()).await;
        let answer =
            answer.map_err(|error| unmodelled(&error, &address.to_string(), &session.role, SERVICE, REMEDY_BELOW))?;
        let names = answer.parameters().iter().filter_map(|parameter| parameter.name().map(str::to_owned));
        Ok(Page { entries: names.collect(), next: answer.next_token().map(str::to_owned) })
    }

    /// Here AWS looks at the tags.
    async fn page_of_all(
        &self,
        session: &Session,
        filter: &Filter,
        address: &Stored,
        next: Option<String>,
    ) -> Result<Page<String>, FetchError> {
        let filters = narrowing(filter).map_err(|problem| FetchError::Backend {
            reason: Reason::Internal,
            message: format!("{address} cannot be asked for: {problem}"),
            verdict: Verdict::Final,
            said: None,
        })?;
        let credentials = Builder::new().credentials_provider(session.credentials.clone());
        let request = self.clients.of(&address.region, session.tenant, Tries::All).describe_parameters();
        let request = request.set_parameter_filters(Some(filters)).max_results(A_PAGE);
        let request = request.set_next_token(next).customize().config_override(credentials);
        let answer = counted(api(OF_ALL), request.send()).await;
        let answer = answer
            .map_err(|error| unmodelled(&error, &address.to_string(), &session.role, SERVICE, REMEDY_OF_LISTS))?;
        let names = answer.parameters().iter().filter_map(|parameter| parameter.name().map(str::to_owned));
        Ok(Page { entries: names.collect(), next: answer.next_token().map(str::to_owned) })
    }

    async fn ask(
        &self,
        session: &Session,
        region: &Region,
        call: &[Arc<Stored>],
    ) -> Result<GetParametersOutput, SdkError<GetParametersError>> {
        let credentials = Builder::new().credentials_provider(session.credentials.clone());
        let names = call.iter().filter_map(|address| parameter_of(address)).map(Parameter::asked).collect();
        let request = self.clients.of(region, session.tenant, Tries::All).get_parameters();
        request.set_names(Some(names)).with_decryption(true).customize().config_override(credentials).send().await
    }
}

/// A call that is made at the pace of all, and a few times again where what fails may pass.
struct Attempts {
    api: Api,
    pace: Arc<Pace>,
    left: u32,
    pause: Duration,
    has_waited: bool,
}

impl Attempts {
    fn at(pace: Arc<Pace>, api: Api) -> Self {
        Self { api, pace, left: TRIES, pause: FIRST_PAUSE, has_waited: false }
    }

    /// To be awaited before each try.
    async fn turn(&mut self) {
        self.has_waited = self.pace.turn().await;
        self.left = self.left.saturating_sub(1);
    }

    fn went_well(&self) {
        self.pace.went_well(self.has_waited);
    }

    /// Waits for a moment before the next try. Gives the error back where there is none.
    async fn failed(&mut self, error: FetchError) -> Result<(), FetchError> {
        if error.reason() == Reason::AwsThrottled {
            self.pace.was_refused();
        }
        if self.left == 0 || !error.may_pass() {
            return Err(error);
        }
        tokio::time::sleep(random::jittered(self.pause)).await;
        metrics().backend_retries(self.api, 1);
        self.pause *= 2;
        Ok(())
    }
}

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html>
fn narrowing(filter: &Filter) -> Result<Vec<ParameterStringFilter>, BuildError> {
    let of = |key: &str, option: &str, value: &str| {
        ParameterStringFilter::builder().key(key).option(option).values(value).build()
    };
    let path = filter
        .path
        .iter()
        .map(|path| of("Path", if path.is_recursive { "Recursive" } else { "OneLevel" }, path.asked()));
    let name = filter.name_prefix.iter().map(|prefix| of("Name", "BeginsWith", prefix));
    let tags = filter.tags.iter().map(|(key, value)| of(&format!("tag:{key}"), "Equals", value));
    path.chain(name).chain(tags).collect()
}

/// As numbers name it.
const fn api(name: &'static str) -> Api {
    Api { service: "ssm", name }
}

fn parameter_of(address: &Stored) -> Option<&Parameter> {
    match &address.item {
        Item::Parameter(parameter) => Some(parameter),
        Item::Secret(_) | Item::List(_) => None,
    }
}

fn path_of_address(address: &Stored) -> &str {
    parameter_of(address).map_or("", |parameter| path_of(&parameter.name))
}

fn value_of(answer: &GetParametersOutput, address: &Stored, role: &str) -> Result<SecretValue, FetchError> {
    let request_id = crate::aws::word(answer.request_id().unwrap_or("unknown"));
    let said = |code: &str| Some(Said { code: code.into(), request_id: request_id.clone() });
    let mut answered = answer.parameters().iter();
    let Some(found) = parameter_of(address).and_then(|asked| answered.find(|answered| answers(answered, asked))) else {
        return Err(FetchError::Backend {
            reason: Reason::ParameterNotFound,
            message: format!(
                "{address} does not exist in the account of {role}; correct objectName, objectVersion, objectVersionLabel \
                 or `region`. [InvalidParameters]"
            ),
            verdict: Verdict::Final,
            said: said("InvalidParameters"),
        });
    };
    let content =
        found.value().map(|value| SecretBytes::from(value.to_owned())).ok_or_else(|| FetchError::Backend {
            reason: Reason::AnswerMismatch,
            message: format!("AWS answered without a value for {address}"),
            verdict: Verdict::Open,
            said: said("ok"),
        })?;
    let object = found.arn().map_or_else(|| address.to_string(), str::to_owned);
    Ok(SecretValue { content, version: found.version().to_string(), source: Some(Source { object, request_id }) })
}

/// Whether an answered parameter is the one that was asked for. AWS gives `:3` or `:label` back as the selector; where a
/// double of AWS leaves it out, the version tells, and a label must do without: no call has two of one name.
fn answers(answered: &Answered, asked: &Parameter) -> bool {
    let selector = answered.selector().map(|selector| selector.trim_start_matches(':'));
    let is_of_name = [answered.name(), answered.arn()].contains(&Some(asked.name.as_str()));
    is_of_name
        && match (asked.selector.as_deref(), selector) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(asked), Some(selector)) => asked == selector,
            (Some(asked), None) => {
                asked.parse().is_ok_and(|version: i64| version == answered.version()) || asked.parse::<i64>().is_err()
            }
        }
}

/// An error of the whole call, which names the one parameter that it is about, as far as AWS says which.
fn explain(error: &SdkError<GetParametersError>, call: &[Arc<Stored>], role: &str) -> FetchError {
    let SdkError::ServiceError(service) = error else {
        return unmodelled(error, &together(call), role, SERVICE, REMEDY);
    };
    let said = service.err().meta().message().unwrap_or_default();
    let named = call.iter().filter(|address| said.contains(&format!(":parameter/{}", path_of_address(address))));
    // Of `/a` and `/a/b`, both of which are in the ARN of the latter, the longer one is meant.
    let what =
        named.max_by_key(|address| path_of_address(address).len()).map_or_else(|| together(call), ToString::to_string);
    match service.err() {
        GetParametersError::InvalidKeyId(_) => FetchError::Backend {
            reason: Reason::DecryptDenied,
            message: format!("{what} cannot be decrypted as {role}; its key is disabled or gone. [InvalidKeyId]"),
            verdict: Verdict::Final,
            said: super::said(error),
        },
        _ => unmodelled(error, &what, role, SERVICE, REMEDY),
    }
}

/// What a call reads, in few words.
fn together(call: &[Arc<Stored>]) -> String {
    match call {
        [] => "nothing".into(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first}, with {} more in the same call,", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(name: &str) -> Arc<Stored> {
        let item = Item::Parameter(Parameter::parse(name));
        Arc::new(Stored { region: "eu-west-1".parse().expect("a Region"), item })
    }

    fn answered(name: &str, version: i64, selector: Option<&str>) -> Answered {
        let arn = format!("arn:aws:ssm:eu-west-1:111122223333:parameter/{}", name.trim_start_matches('/'));
        let selector = selector.map(|selector| format!(":{selector}"));
        let value = format!("{name} {version}");
        Answered::builder().name(name).arn(arn).version(version).set_selector(selector).value(value).build()
    }

    #[test]
    fn f37_answers_are_found_by_name_or_arn_and_selector() {
        let arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/shop/host";
        for (asked, version, selector, is_it) in [
            ("/shop/host", 3, None, true),
            ("/shop/host", 2, Some("2"), false),
            ("/shop/host:2", 2, Some("2"), true),
            ("/shop/host:2", 3, Some("3"), false),
            ("/shop/host:2", 2, None, true),
            ("/shop/host:2", 3, None, false),
            ("/shop/host:blue", 2, Some("blue"), true),
            ("/shop/host:blue", 2, Some("green"), false),
            ("/shop/host:blue", 2, None, true),
            ("/shop", 2, None, false),
            ("host", 2, None, false),
        ] {
            let answer = answered("/shop/host", version, selector);
            assert_eq!(answers(&answer, &Parameter::parse(asked)), is_it, "{asked}: {version} {selector:?}");
        }
        assert!(answers(&answered("/shop/host", 1, None), &Parameter::parse(arn)));
        assert!(answers(&answered("/shop/host", 1, Some("1")), &Parameter::parse(&format!("{arn}:1"))));
    }

    #[test]
    fn f37_what_is_not_answered_is_not_found_and_what_was_not_asked_for_is_ignored() {
        let answer = GetParametersOutput::builder()
            .parameters(answered("/other", 1, None))
            .parameters(answered("/b", 2, None))
            .parameters(answered("/a", 1, None))
            .invalid_parameters("/c")
            .build();
        let read = |name: &str| value_of(&answer, &at(name), "role").map(|value| value.content.expose().to_vec());
        assert_eq!(read("/a").expect("answered"), b"/a 1");
        assert_eq!(read("/b").expect("answered"), b"/b 2");
        for missing in ["/c", "/d"] {
            let error = read(missing).expect_err("not there");
            assert!(error.to_string().contains(missing), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_parameter_comes_into_one_call_and_none_twice_into_the_same(
            names in proptest::collection::vec("(arn:aws:ssm:eu-west-1:1:parameter)?/[a-d]{1,2}(:[1-3])?", 0..60),
        ) {
            let asked: Vec<Arc<Stored>> = names.iter().map(|name| at(name)).collect();
            let calls = calls(asked.clone());
            let mut again: Vec<String> = calls.iter().flatten().map(ToString::to_string).collect();
            let mut before: Vec<String> = asked.iter().map(ToString::to_string).collect();
            again.sort();
            before.sort();
            prop_assert_eq!(again, before);
            for call in &calls {
                let paths: HashSet<&str> =
                    call.iter().filter_map(|address| parameter_of(address)).map(|parameter| path_of(&parameter.name)).collect();
                prop_assert!(call.len() <= NAMES_A_CALL && paths.len() == call.len());
            }
        }
    }
}
