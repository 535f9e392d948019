//! The short way to AWS: one request and its answer, and nothing for the case that something goes wrong.
//!
//! The SDK's own way of making a request was half of the CPU of a node's start. This one uses the SDK's serializers, parsers, signer
//! and connector, and leaves out what stands in between. So it is only ever the first try: what is neither an answer nor an error
//! that no other try would change, the SDK is asked to do again, and for a moment all else in that Region, with its retries and
//! their quota, its correction of the clock, and whatever else it knows.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::{Region as SdkRegion, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_sts::config::{ConfigBag, RuntimePlugin};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::interceptors::context::Input;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse as _, SerializeRequest as _, SharedRequestSerializer, SharedResponseDeserializer,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::FrozenLayer;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;

use super::clients::Tries;
use super::configuration::{ATTEMPT_TIME_OUT, Configuration, FIRST_BACKOFF};
use crate::clock::Instant;
use crate::plan::aws::Region;
use crate::random;

/// How long the SDK makes all requests to a Region after one has gone wrong here.
const CLOSED_FOR: Duration = Duration::from_secs(1);

/// Errors that say of the request itself that AWS will not do it. Whatever is not among them may be one that passes.
const LAST_WORDS: [&str; 13] = [
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IDPRejectedClaim",
    "InvalidIdentityToken",
    "InvalidParameterException",
    "InvalidRequestException",
    "MalformedPolicyDocument",
    "RegionDisabledException",
    "ResourceNotFoundException",
    "ValidationError",
];

/// Headers of the SDK's that say who asks.
const SAID_OF_US: [&str; 2] = ["user-agent", "x-amz-user-agent"];

/// An operation of a service, by what the SDK generates for it.
pub struct Operation<I, O, E> {
    settings: FrozenLayer,
    kinds: PhantomData<fn(I) -> Result<O, E>>,
}

/// The short way to one service in every Region.
pub struct ShortWay {
    configuration: Configuration,
    example: Example,
    letterheads: Mutex<HashMap<Region, Arc<Letterhead>>>,
    /// When a request to a Region has gone wrong last.
    failed: Mutex<HashMap<Region, Instant>>,
}

/// Makes a signed request of the service with a client of the SDK, whatever the answer is.
pub type Example = fn(&SdkConfig) -> BoxFuture<'static, ()>;

/// What came of it.
pub enum Short<O, E> {
    /// The service's last word.
    Answer(Result<O, Box<SdkError<E, HttpResponse>>>),
    /// The SDK is to be asked, which has so many tries.
    Open(Tries),
}

impl<I, O, E> Operation<I, O, E>
where
    I: Debug + Send + Sync + 'static,
    O: Debug + Send + Sync + 'static,
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    /// `I`, `O` and `E` must be those that the SDK generates for the same operation.
    pub fn new(generated: &impl RuntimePlugin) -> Self {
        let nothing = || aws_smithy_types::config_bag::Layer::new("nothing").freeze();
        Self { settings: generated.config().unwrap_or_else(nothing), kinds: PhantomData }
    }

    fn request(&self, input: I) -> Option<HttpRequest> {
        let serializer = self.settings.load::<SharedRequestSerializer>()?;
        serializer.serialize_input(Input::erase(input), &mut ConfigBag::base()).ok()
    }

    /// What the SDK reads in an answer, whose body must be there as a whole. `None` where it can make nothing of it.
    pub fn read(&self, answer: HttpResponse) -> Option<Result<O, SdkError<E, HttpResponse>>> {
        let deserializer = self.settings.load::<SharedResponseDeserializer>()?;
        let mut refusal = None;
        match deserializer.deserialize_nonstreaming_with_config(&answer, &ConfigBag::base()) {
            Ok(output) => return Some(Ok(output.downcast::<O>().ok()?)),
            Err(error) => drop(error.map_operation_error(|error| refusal = Some(error))),
        }
        Some(Err(SdkError::service_error(refusal?.downcast().ok()?, answer)))
    }

    /// `None` where another try may bring something else.
    fn last_word(&self, answer: HttpResponse) -> Option<Result<O, Box<SdkError<E, HttpResponse>>>> {
        let is_clients = answer.status().is_client_error();
        let is_last =
            |refusal: &SdkError<E, HttpResponse>| refusal.code().is_some_and(|code| LAST_WORDS.contains(&code));
        match self.read(answer)? {
            Err(refusal) => (is_clients && is_last(&refusal)).then(|| Err(Box::new(refusal))),
            Ok(output) => Some(Ok(output)),
        }
    }
}

impl ShortWay {
    pub fn new(configuration: Configuration, example: Example) -> Self {
        Self { configuration, example, letterheads: Mutex::default(), failed: Mutex::default() }
    }

    /// Whom an example is signed by.
    pub fn nobody() -> Credentials {
        Credentials::new("example", "example", None, None, "example")
    }

    /// Asks once, unsigned without credentials.
    pub async fn ask<I, O, E>(
        &self,
        operation: &Operation<I, O, E>,
        region: &Region,
        credentials: Option<&Credentials>,
        input: I,
    ) -> Short<O, E>
    where
        I: Debug + Send + Sync + 'static,
        O: Debug + Send + Sync + 'static,
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        if self.has_failed(region, CLOSED_FOR) {
            return Short::Open(Tries::All);
        }
        let Some(letterhead) = self.letterhead(region).await else { return Short::Open(Tries::All) };
        let request = operation.request(input).and_then(|request| letterhead.addressed(request, credentials));
        let Some(request) = request else { return Short::Open(Tries::All) };
        let answer = tokio::time::timeout(ATTEMPT_TIME_OUT, self.send(request)).await;
        if let Some(last_word) = answer.ok().flatten().and_then(|answer| operation.last_word(answer)) {
            return Short::Answer(last_word);
        }
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(region.clone(), Instant::now());
        tokio::time::sleep(random::jittered(FIRST_BACKOFF)).await;
        Short::Open(Tries::AfterOne)
    }

    /// Whether a request to a Region has gone wrong here of late.
    pub fn has_failed(&self, region: &Region, within: Duration) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(region).is_some_and(|failed| failed.elapsed() < within)
    }

    /// Sends a request, and reads the whole answer.
    async fn send(&self, request: HttpRequest) -> Option<HttpResponse> {
        let mut answer = self.configuration.connector.call(request).await.ok()?;
        let body = answer.take_body().collect().await.ok()?.to_bytes();
        *answer.body_mut() = SdkBody::from(body);
        Some(answer)
    }

    /// Learned from an example, which is not sent. `None` where the SDK makes no request of it.
    async fn letterhead(&self, region: &Region) -> Option<Arc<Letterhead>> {
        let known = self.letterheads.lock().unwrap_or_else(PoisonError::into_inner).get(region).cloned();
        if known.is_some() {
            return known;
        }
        let desk = Desk::default();
        let connector = SharedHttpConnector::new(desk.clone());
        let config = self.configuration.sdk.to_builder();
        let config = config.region(SdkRegion::new(region.to_string()));
        let config = config.http_client(http_client_fn(move |_, _| connector.clone())).build();
        (self.example)(&config).await;
        let written = desk.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let letterhead = Arc::new(Letterhead::of(&written?)?);
        let mut letterheads = self.letterheads.lock().unwrap_or_else(PoisonError::into_inner);
        Some(letterheads.entry(region.clone()).or_insert(letterhead).clone())
    }
}

/// What all requests to a service in a Region have in common.
struct Letterhead {
    uri: String,
    headers: Vec<(&'static str, String)>,
    /// The Region and the service that signatures are for.
    scope: (String, String),
}

impl Letterhead {
    fn of(request: &HttpRequest) -> Option<Self> {
        let header = |name: &'static str| Some((name, request.headers().get(name)?.to_owned()));
        // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html>
        let authorization = request.headers().get("authorization")?;
        let (_, scope) =
            authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=")?.split_once(',')?.0.split_once('/')?;
        let [_date, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else { return None };
        Some(Self {
            uri: request.uri().to_owned(),
            headers: SAID_OF_US.into_iter().map(header).collect::<Option<_>>()?,
            scope: (region.to_owned(), service.to_owned()),
        })
    }

    fn addressed(&self, mut request: HttpRequest, credentials: Option<&Credentials>) -> Option<HttpRequest> {
        request.set_uri(self.uri.as_str()).ok()?;
        for (name, value) in &self.headers {
            request.headers_mut().try_insert(*name, value.clone()).ok()?;
        }
        let Some(credentials) = credentials else { return Some(request) };
        let identity = credentials.clone().into();
        let (region, service) = &self.scope;
        let params = v4::SigningParams::builder().identity(&identity).region(region).name(service);
        let params = params.time(SystemTime::now()).settings(SigningSettings::default()).build().ok()?.into();
        let body = SignableBody::Bytes(request.body().bytes()?);
        let signable = SignableRequest::new(request.method(), request.uri(), request.headers().iter(), body).ok()?;
        let (headers, _) = sign(signable, &params).ok()?.into_parts().0.into_parts();
        for header in headers {
            request.headers_mut().try_insert(header.name(), header.value().to_owned()).ok()?;
        }
        Some(request)
    }
}

/// Where a request ends that is only an example.
#[derive(Debug, Clone, Default)]
struct Desk(Arc<Mutex<Option<HttpRequest>>>);

impl HttpConnector for Desk {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        HttpConnectorFuture::ready(Err(ConnectorError::user("only an example".into())))
    }
}

#[cfg(test)]
mod tests {
    use aws_config::BehaviorVersion;
    use aws_sdk_secretsmanager::Client;
    use aws_sdk_secretsmanager::config::Builder;
    use aws_sdk_secretsmanager::operation::get_secret_value::{
        GetSecretValue, GetSecretValueError, GetSecretValueInput, GetSecretValueOutput,
    };
    use aws_smithy_runtime_api::http::StatusCode;

    use super::*;

    const VALUE: (u16, &str) = (200, r#"{"ARN": "arn", "SecretString": "hello"}"#);

    /// Remembers requests, and answers all of them with the same.
    #[derive(Debug, Clone)]
    struct FakeAws {
        asked: Arc<Mutex<Vec<HttpRequest>>>,
        answer: Arc<Mutex<(u16, &'static str)>>,
    }

    impl FakeAws {
        fn new(answer: (u16, &'static str)) -> Self {
            Self { asked: Arc::default(), answer: Arc::new(Mutex::new(answer)) }
        }

        fn asked(&self) -> Vec<HttpRequest> {
            std::mem::take(&mut self.asked.lock().expect("unpoisoned"))
        }
    }

    impl HttpConnector for FakeAws {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.asked.lock().expect("unpoisoned").push(request);
            let (status, body) = *self.answer.lock().expect("unpoisoned");
            let status = StatusCode::try_from(status).expect("a status");
            HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
        }
    }

    type Get = Operation<GetSecretValueInput, GetSecretValueOutput, GetSecretValueError>;

    fn short_way(aws: &FakeAws, change: fn(SdkConfig) -> SdkConfig) -> ShortWay {
        let connector = SharedHttpConnector::new(aws.clone());
        let of_all = connector.clone();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .app_name(aws_config::AppName::new("test").expect("a name"))
            .http_client(http_client_fn(move |_, _| of_all.clone()));
        let example: Example = |config| {
            let client = Client::new(config);
            Box::pin(async move {
                let signed_by = Builder::new().credentials_provider(ShortWay::nobody());
                let request = client.get_secret_value().secret_id("x").customize().config_override(signed_by);
                let _ = request.send().await;
            })
        };
        ShortWay::new(Configuration { sdk: change(sdk.build()), connector }, example)
    }

    fn session() -> Credentials {
        Credentials::new("AKIA1", "key", Some("token".into()), None, "test")
    }

    async fn ask(short_way: &ShortWay, region: &str) -> Short<GetSecretValueOutput, GetSecretValueError> {
        let input = GetSecretValueInput::builder().secret_id("shop/db").version_stage("AWSCURRENT").build();
        let region = region.parse().expect("a Region");
        short_way.ask(&Get::new(&GetSecretValue::new()), &region, Some(&session()), input.expect("built")).await
    }

    #[tokio::test]
    async fn both_ways_write_the_same_request() {
        let changes: [fn(SdkConfig) -> SdkConfig; 4] = [
            |config| config,
            |config| config.to_builder().use_fips(true).build(),
            |config| config.to_builder().use_dual_stack(true).build(),
            |config| config.to_builder().endpoint_url("https://vpce-1.secretsmanager.invalid/below").build(),
        ];
        for (change, region) in changes.iter().flat_map(|change| [(change, "eu-west-1"), (change, "cn-north-1")]) {
            let aws = FakeAws::new(VALUE);
            let short_way = short_way(&aws, *change);
            assert!(matches!(ask(&short_way, region).await, Short::Answer(Ok(_))));
            let config = short_way.configuration.sdk.to_builder().region(SdkRegion::new(region)).build();
            let request = Client::new(&config).get_secret_value().secret_id("shop/db").version_stage("AWSCURRENT");
            let signed_by = Builder::new().credentials_provider(session());
            request.customize().config_override(signed_by).send().await.expect("an answer");

            let asked = aws.asked();
            let [short, sdk] = asked.as_slice() else { panic!("{} requests", asked.len()) };
            assert_eq!((short.method(), short.uri()), (sdk.method(), sdk.uri()));
            assert_eq!(short.body().bytes(), sdk.body().bytes());
            let header = |request: &HttpRequest, name: &str| request.headers().get(name).map(str::to_owned);
            for name in ["content-type", "x-amz-target", "x-amz-security-token", "x-amz-user-agent"] {
                assert_eq!(header(short, name), header(sdk, name), "{name}");
                assert!(header(short, name).is_some(), "{name}");
            }
            let scope = |request: &HttpRequest| {
                let header = header(request, "authorization").expect("signed");
                header
                    .split_once(',')
                    .expect("parts")
                    .0
                    .split_once('/')
                    .expect("a scope")
                    .1
                    .split_once('/')
                    .map(|(_, scope)| scope.to_owned())
            };
            assert_eq!(scope(short), scope(sdk));
            assert_eq!(scope(short), Some(format!("{region}/secretsmanager/aws4_request")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_other_try_would_change_is_an_answer() {
        for body in [
            r#"{"__type": "ResourceNotFoundException", "Message": "no"}"#,
            r#"{"__type": "AccessDeniedException", "Message": "no"}"#,
            r#"{"__type": "DecryptionFailure", "Message": "no"}"#,
        ] {
            let aws = FakeAws::new((400, body));
            let short_way = short_way(&aws, |config| config);
            assert!(matches!(ask(&short_way, "eu-west-1").await, Short::Answer(Err(_))), "{body}");
            assert!(matches!(ask(&short_way, "eu-west-1").await, Short::Answer(Err(_))), "not closed after {body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_left_to_the_sdk_and_so_is_all_that_comes_in_the_next_second() {
        for answer in [
            (400, r#"{"__type": "ThrottlingException", "Message": "later"}"#),
            (400, r#"{"__type": "InvalidSignatureException", "Message": "Signature expired: is now later"}"#),
            (400, "no JSON"),
            (500, r#"{"__type": "InternalServiceError", "Message": "no"}"#),
            (503, "<html>"),
            (200, "<html>"),
        ] {
            let aws = FakeAws::new(answer);
            let short_way = short_way(&aws, |config| config);
            assert!(matches!(ask(&short_way, "eu-west-1").await, Short::Open(Tries::AfterOne)), "{answer:?}");
            assert_eq!(aws.asked().len(), 1);
            assert!(matches!(ask(&short_way, "eu-west-1").await, Short::Open(Tries::All)), "{answer:?}");
            assert_eq!(aws.asked().len(), 0);
            *aws.answer.lock().expect("unpoisoned") = VALUE;
            tokio::time::advance(CLOSED_FOR).await;
            assert!(matches!(ask(&short_way, "eu-west-1").await, Short::Answer(Ok(_))), "open again after {answer:?}");
        }
    }
}
