//! An OpenID provider of the demo's own: discovery, keys, the device flow (RFC 8628), userinfo, and
//! a page where a person confirms.
//!
//! It asks for no password: whoever opens its page is who they say. So it binds to loopback only,
//! answers only requests that were addressed to loopback (a foreign name that resolves here is
//! refused), and takes decisions only from its own page. It is never part of `bastion`.

pub mod flow;
pub mod key;
pub mod page;
pub mod people;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Json, Router};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use flow::{Answer, Flows, Typed};
use key::SigningKey;
use people::{PEOPLE, Person};

/// The only client that the provider knows; it has no secret.
pub const CLIENT_ID: &str = "bastion";

/// A running provider. Dropping it ends it at once.
#[derive(Debug)]
pub struct Provider {
    issuer: String,
    stop: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
}

/// Why a provider did not start.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It would be reachable from other machines.
    #[error("the demo's provider asks for no password and listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address can't be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No key could be made.
    #[error("cannot make a signing key: no randomness")]
    Key,
}

impl Provider {
    /// Starts a provider; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address is not loopback or can't be bound.
    pub async fn start(address: SocketAddr) -> Result<Self, ProviderError> {
        if !address.ip().is_loopback() {
            return Err(ProviderError::NotLoopback(address));
        }
        let bind = |source| ProviderError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let issuer = format!("http://{address}");
        let state = Arc::new(Inner {
            issuer: issuer.clone(),
            port: address.port(),
            key: SigningKey::generate().map_err(|_| ProviderError::Key)?,
            flows: Mutex::default(),
            sessions: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, router(state))
                .with_graceful_shutdown(stopped)
                .await
        });
        Ok(Self {
            issuer,
            stop,
            tasks,
        })
    }

    /// The issuer: the base of all its addresses, without a slash at the end.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The page where a person types a code.
    #[must_use]
    pub fn page(&self) -> String {
        format!("{}/device", self.issuer)
    }

    /// Ends the provider: open requests get a second.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // Kept-alive connections may idle for longer; dropping the set ends them.
        drop(tokio::time::timeout(Duration::from_secs(1), ended).await);
    }
}

struct Inner {
    issuer: String,
    port: u16,
    key: SigningKey,
    flows: Mutex<Flows>,
    sessions: Mutex<Sessions>,
}

/// The access tokens that were issued.
#[derive(Default)]
struct Sessions(HashMap<String, (Person, Instant)>);

/// The life of ID and access tokens.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

impl Sessions {
    fn add(&mut self, token: String, person: Person, now: Instant) {
        self.0.retain(|_, (_, expires)| now < *expires);
        self.0.insert(token, (person, now + TOKEN_LIFE));
    }

    fn person(&self, token: &str, now: Instant) -> Option<Person> {
        let (person, expires) = self.0.get(token)?;
        (now < *expires).then(|| person.clone())
    }
}

impl Inner {
    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request was addressed to loopback, and comes from no page of another site.
    fn may_answer(&self, headers: &HeaderMap) -> bool {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let origin_is_own = !headers.contains_key(header::ORIGIN)
            || text(header::ORIGIN)
                .and_then(|origin| origin.strip_prefix("http://"))
                .is_some_and(|host| self.is_own_host(host));
        origin_is_own && text(header::HOST).is_some_and(|host| self.is_own_host(host))
    }

    /// The name by which this provider is called on this machine.
    fn is_own_host(&self, host: &str) -> bool {
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
            host.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(':'))
                == Some(self.port.to_string().as_str())
        })
    }
}

fn router(state: Arc<Inner>) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to("/device") }))
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route(
            "/device_authorization",
            axum::routing::post(device_authorization),
        )
        .route("/token", axum::routing::post(token))
        .route("/userinfo", get(userinfo).post(userinfo))
        .route("/device", get(typed).post(decided))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            own_requests,
        ))
        .with_state(state)
}

/// Refuses what a page of another site could make a browser send, and sets the safety headers.
async fn own_requests(State(state): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    if !state.may_answer(request.headers()) {
        return (
            StatusCode::FORBIDDEN,
            "this provider answers on loopback only\n",
        )
            .into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn discovery(State(state): State<Arc<Inner>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", state.issuer);
    Json(json!({
        "issuer": state.issuer,
        // Required by the specification; the demo has only the device flow.
        "authorization_endpoint": at("/device"),
        "device_authorization_endpoint": at("/device_authorization"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["id_token"],
        "grant_types_supported": [GRANT],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "groups"],
        "claims_supported":
            ["sub", "name", "preferred_username", "email", "email_verified", "groups"],
    }))
}

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn jwks(State(state): State<Arc<Inner>>) -> Json<Value> {
    Json(state.key.jwks())
}

#[derive(Deserialize)]
struct DeviceRequest {
    client_id: Option<String>,
    scope: Option<String>,
    nonce: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// RFC 8628, section 3.1.
async fn device_authorization(
    State(state): State<Arc<Inner>>,
    Form(asked): Form<DeviceRequest>,
) -> Result<Json<Value>, Refusal> {
    known_client(asked.client_id.as_deref())?;
    let scope = asked.scope.unwrap_or_default();
    if !scope.split(' ').any(|one| one == "openid") {
        return Err(Refusal::bad("invalid_scope", "the scope openid is needed"));
    }
    match (
        &asked.code_challenge,
        asked.code_challenge_method.as_deref(),
    ) {
        (None, None) | (Some(_), Some("S256")) => {}
        _ => {
            return Err(Refusal::bad(
                "invalid_request",
                "only the challenge method S256 is known",
            ));
        }
    }
    let device_code = BASE64URL_NOPAD.encode(&random()?);
    let user_code = flow::user_code(random()?);
    let shown = flow::shown(&user_code);
    let request = flow::Request {
        device_code: device_code.clone(),
        user_code,
        scope,
        nonce: asked.nonce,
        challenge: asked.code_challenge,
    };
    if !state.flows().begin(request, Instant::now()) {
        return Err(Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "temporarily_unavailable",
            description: "too many sign-ins are open",
        });
    }
    Ok(Json(json!({
        "device_code": device_code,
        "user_code": shown,
        "verification_uri": format!("{}/device", state.issuer),
        "verification_uri_complete": format!("{}/device?user_code={shown}", state.issuer),
        "expires_in": Flows::LIFE.as_secs(),
        "interval": Flows::INTERVAL.as_secs(),
    })))
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: Option<String>,
    client_id: Option<String>,
    device_code: Option<String>,
    code_verifier: Option<String>,
}

/// RFC 8628, sections 3.4 and 3.5.
async fn token(
    State(state): State<Arc<Inner>>,
    Form(asked): Form<TokenRequest>,
) -> Result<Json<Value>, Refusal> {
    known_client(asked.client_id.as_deref())?;
    if asked.grant_type.as_deref() != Some(GRANT) {
        return Err(Refusal::bad(
            "unsupported_grant_type",
            "only the device flow is known",
        ));
    }
    let device_code = asked
        .device_code
        .ok_or(Refusal::bad("invalid_request", "device_code is missing"))?;
    let challenge = asked
        .code_verifier
        .map(|verifier| BASE64URL_NOPAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref()));
    let answer = state
        .flows()
        .poll(&device_code, challenge.as_deref(), Instant::now());
    match answer {
        Answer::Pending => Err(Refusal::bad(
            "authorization_pending",
            "nobody has decided yet",
        )),
        Answer::SlowDown => Err(Refusal::bad("slow_down", "polled too soon")),
        Answer::Denied => Err(Refusal::bad("access_denied", "the person said no")),
        Answer::Expired => Err(Refusal::bad("expired_token", "the code is too old")),
        Answer::Unknown => Err(Refusal::bad("invalid_grant", "no such device code")),
        Answer::Issue(request, person) => issue(&state, &request, person).map(Json),
    }
}

fn issue(state: &Inner, request: &flow::Request, person: Person) -> Result<Value, Refusal> {
    let now = jiff::Timestamp::now().as_second();
    let life = i64::try_from(TOKEN_LIFE.as_secs()).unwrap_or(600);
    let mut claims = claims(&person, &request.scope);
    for (name, value) in [
        ("iss", json!(state.issuer)),
        ("aud", json!(CLIENT_ID)),
        ("iat", json!(now)),
        ("auth_time", json!(now)),
        ("exp", json!(now + life)),
    ] {
        claims.insert(name.to_owned(), value);
    }
    if let Some(nonce) = &request.nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    let id_token = state
        .key
        .sign(&Value::Object(claims))
        .map_err(|_| Refusal::BROKEN)?;
    let access_token = BASE64URL_NOPAD.encode(&random()?);
    state
        .sessions()
        .add(access_token.clone(), person, Instant::now());
    Ok(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": life,
        "scope": request.scope,
        "id_token": id_token,
    }))
}

/// The claims about a person that the scopes ask for (OpenID Connect Core 1.0, section 5.4).
fn claims(person: &Person, scope: &str) -> serde_json::Map<String, Value> {
    let mut claims = serde_json::Map::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("sub", json!(person.subject));
    for scope in scope.split(' ') {
        match scope {
            "profile" => {
                put("name", json!(person.full_name));
                put("preferred_username", json!(person.name));
            }
            "email" => {
                put("email", json!(person.email()));
                put("email_verified", json!(true));
            }
            "groups" => {
                put("groups", json!(person.groups));
            }
            _ => {}
        }
    }
    claims
}

/// OpenID Connect Core 1.0, section 5.3.
async fn userinfo(State(state): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let person = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| state.sessions().person(token, Instant::now()));
    match person {
        Some(person) => {
            Json(Value::Object(claims(&person, "profile email groups"))).into_response()
        }
        None => (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")],
        )
            .into_response(),
    }
}

#[derive(Deserialize)]
struct TypedCode {
    user_code: Option<String>,
}

async fn typed(State(state): State<Arc<Inner>>, Query(asked): Query<TypedCode>) -> Html<String> {
    let Some(code) = asked.user_code.map(|typed| flow::meant(&typed)) else {
        return Html(page::enter(false));
    };
    let typed = state.flows().typed(&code, Instant::now());
    Html(match typed {
        Typed::Waiting => page::confirm(&code),
        Typed::Decided | Typed::Unknown => page::decided(typed, None),
    })
}

#[derive(Deserialize)]
struct Decision {
    user_code: String,
    person: Option<String>,
    decision: String,
}

async fn decided(State(state): State<Arc<Inner>>, Form(asked): Form<Decision>) -> Response {
    let person = asked.person.as_deref().and_then(Person::named);
    let person = match (asked.decision.as_str(), person) {
        ("confirm", Some(person)) => Some(person),
        ("deny", _) => None,
        _ => return (StatusCode::BAD_REQUEST, who_is_there()).into_response(),
    };
    let name = person.as_ref().map(|person| person.name);
    let typed = state
        .flows()
        .decide(&flow::meant(&asked.user_code), person, Instant::now());
    Html(page::decided(typed, name)).into_response()
}

fn who_is_there() -> String {
    let names: Vec<&str> = PEOPLE.iter().map(|person| person.name).collect();
    format!(
        "decision is confirm or deny; person is one of {}\n",
        names.join(", ")
    )
}

/// An error of OAuth 2.0 (RFC 6749, section 5.2).
struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
}

impl Refusal {
    const BROKEN: Self = Self {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error: "server_error",
        description: "no randomness or no signature",
    };

    fn bad(error: &'static str, description: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        (self.status, Json(body)).into_response()
    }
}

fn known_client(client_id: Option<&str>) -> Result<(), Refusal> {
    if client_id == Some(CLIENT_ID) {
        return Ok(());
    }
    Err(Refusal {
        status: StatusCode::UNAUTHORIZED,
        error: "invalid_client",
        description: "the only client is called bastion and has no secret",
    })
}

fn random() -> Result<[u8; 32], Refusal> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Refusal::BROKEN)?;
    Ok(bytes)
}
