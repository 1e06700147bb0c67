//! A page on this machine to browse, search and play recordings.
//!
//! Only loopback is listened on, and whoever asks must know the token in the path (another
//! account on the machine, or a page in the same browser, does not) and must have asked for this
//! host (a name that was turned to 127.0.0.1 does not). Paths of files never come from a
//! request: it names a recording by a hash of its path, among those that are there.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{constant_time, digest, rand};
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{SCRIPT, STYLE, data, stage};
use crate::about::date;
use crate::files::{self, Source};
use crate::keeper::Keeper;
use crate::lines::{self, Pattern};
use crate::moment::Clock;
use crate::opened;
use crate::player::Player;
use crate::safe;
use crate::summary::{State as Condition, Summary};
use crate::svg::escape;
use crate::transcript::Line;

/// What the pages show.
struct Shop {
    paths: Vec<PathBuf>,
    keeper: Keeper,
    zone: TimeZone,
    token: String,
    hosts: [String; 2],
    /// Summaries by path, with the size of the file that they are of.
    summaries: Mutex<BTreeMap<PathBuf, (u64, Arc<Summary>)>>,
    /// The players that were used last, by key, with the size of the file.
    players: Mutex<VecDeque<Opened>>,
    /// Reading and emulating at the same time.
    work: Semaphore,
}

struct Opened {
    key: String,
    size: u64,
    player: Arc<Mutex<Player>>,
}

/// Players that are kept open.
const PLAYERS_KEPT: usize = 8;

/// Recordings on one page of the list, and lines of one search.
const LISTED_MAX: usize = 2000;
const HITS_MAX: usize = 1000;

/// Longest text that is searched for.
const QUERY_MAX: usize = 1000;

/// The server, listening.
pub(crate) struct Server {
    listener: TcpListener,
    router: Router,
    /// Where the browser goes.
    pub(crate) url: String,
}

impl Server {
    /// Listens on a port of 127.0.0.1; 0 is any free one.
    pub(crate) async fn bind(paths: Vec<PathBuf>, zone: TimeZone, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let port = listener.local_addr()?.port();
        let mut token = [0; 16];
        rand::fill(&mut token).map_err(|_| io::Error::other("no random numbers"))?;
        let token = HEXLOWER.encode(&token);
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        let url = format!("http://127.0.0.1:{port}/{token}/");
        let shop = Arc::new(Shop {
            paths,
            keeper: Keeper::new(),
            zone,
            token,
            hosts,
            summaries: Mutex::default(),
            players: Mutex::default(),
            work: Semaphore::new(2),
        });
        let router = Router::new()
            .route("/{token}/", get(list))
            .route("/{token}/search", get(search))
            .route("/{token}/play/{key}", get(play))
            .route("/{token}/part/{key}/{number}", get(part))
            .route("/{token}/player.js", get(script))
            .route("/{token}/style.css", get(style))
            .layer(middleware::from_fn_with_state(shop.clone(), guard))
            .with_state(shop);
        Ok(Self {
            listener,
            router,
            url,
        })
    }

    /// Serves until `stop` is done.
    pub(crate) async fn run(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(stop)
            .await
    }
}

/// Lets in who asked for this host with the token, and says what a page may do.
async fn guard(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let is_here = shop
        .hosts
        .iter()
        .any(|own| host.is_some_and(|host| host.as_bytes() == own.as_bytes()));
    let given = request.uri().path().split('/').nth(1).unwrap_or_default();
    let knows =
        constant_time::verify_slices_are_equal(given.as_bytes(), shop.token.as_bytes()).is_ok();
    let mut response = if !is_here || !knows {
        (StatusCode::NOT_FOUND, "not found\n").into_response()
    } else if request.method() != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, "only GET\n").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

async fn script() -> Response {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        SCRIPT,
    )
        .into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn list(State(shop): State<Arc<Shop>>) -> Response {
    answer(shop, |shop| Ok(page("recordings", &shop.list()))).await
}

#[derive(serde::Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
}

async fn search(State(shop): State<Arc<Shop>>, Query(asked): Query<Asked>) -> Response {
    answer(shop, move |shop| Ok(page("search", &shop.search(&asked.q)))).await
}

async fn play(State(shop): State<Arc<Shop>>, Path((_, key)): Path<(String, String)>) -> Response {
    answer(shop, move |shop| {
        let player = shop.player(&key)?;
        let player = player.lock().unwrap_or_else(PoisonError::into_inner);
        let film = player.film();
        let body = stage(&film, &format!("../part/{key}/"))?;
        let warnings = warnings(&player);
        Ok(Page(format!(
            "{}<p><a href=\"../\">all recordings</a></p>\n{body}{warnings}\
             <script src=\"../player.js\"></script>\n</body>\n</html>\n",
            head(film.title(), "../")
        )))
    })
    .await
}

async fn part(
    State(shop): State<Arc<Shop>>,
    Path((_, key, number)): Path<(String, String, usize)>,
) -> Response {
    answer(shop, move |shop| {
        let player = shop.player(&key)?;
        let mut player = player.lock().unwrap_or_else(PoisonError::into_inner);
        let part = player.part(number).ok_or(io::ErrorKind::NotFound)?;
        if player.is_stale() {
            return Err(io::Error::other(
                "the recording has changed: load the page again",
            ));
        }
        Ok(Json(data(&part)?))
    })
    .await
}

struct Page(String);
struct Json(String);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], self.0).into_response()
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// Does work that reads files, aside and not too much of it at once.
async fn answer<T: IntoResponse + Send + 'static>(
    shop: Arc<Shop>,
    work: impl FnOnce(&Shop) -> io::Result<T> + Send + 'static,
) -> Response {
    let Ok(_permit) = shop.work.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let worker = shop.clone();
    match tokio::task::spawn_blocking(move || work(&worker)).await {
        Ok(Ok(done)) => done.into_response(),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            (StatusCode::NOT_FOUND, "there is no such recording\n").into_response()
        }
        Ok(Err(error)) => {
            let line = format!("{}\n", safe::line(&error.to_string()));
            (StatusCode::INTERNAL_SERVER_ERROR, line).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn head(title: &str, up: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n\
         <link rel=\"stylesheet\" href=\"{up}style.css\">\n</head>\n<body>\n",
        escape(title)
    )
}

fn page(title: &str, body: &str) -> Page {
    let head = head(title, "");
    Page(format!("{head}{body}</body>\n</html>\n"))
}

fn form(query: &str) -> String {
    format!(
        "<form action=\"search\"><input type=\"search\" name=\"q\" value=\"{}\" maxlength=\"{QUERY_MAX}\" \
         placeholder=\"text on the screens\" aria-label=\"search\"><button>search</button></form>\n",
        escape(&safe::line(query))
    )
}

fn warnings(player: &Player) -> String {
    let lines = player.warnings().iter().take(100);
    let lines: Vec<String> = lines.map(|warning| escape(&warning.to_string())).collect();
    match lines.as_slice() {
        [] => String::new(),
        _ => format!("<h1>warnings</h1><pre>{}</pre>\n", lines.join("\n")),
    }
}

/// How a request names a recording.
fn key(source: &Source) -> String {
    let name = source.name();
    let path = match source {
        Source::File(path) => path.as_os_str().as_encoded_bytes(),
        Source::Stdin | Source::Remote(_) => name.as_bytes(),
    };
    let hash = digest::digest(&digest::SHA256, path);
    HEXLOWER.encode(hash.as_ref().get(..16).unwrap_or_default())
}

impl Shop {
    /// The files that are there now. What has to be fetched is for `replay play`.
    fn sources(&self) -> Vec<Source> {
        let (mut sources, _) = files::find(&self.paths);
        sources.retain(|source| matches!(source, Source::File(_)));
        sources
    }

    fn list(&self) -> String {
        let sources = self.sources();
        let mut rows: Vec<(String, String)> = Vec::new();
        for source in sources.iter().take(LISTED_MAX) {
            rows.push(self.row(source));
        }
        rows.sort_by(|one, other| other.0.cmp(&one.0));
        let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
        let more = match sources.len().checked_sub(LISTED_MAX + 1) {
            Some(more) => format!("<p>and {} more, which search finds</p>\n", more + 1),
            None => String::new(),
        };
        format!(
            "<h1>{} recordings</h1>\n{}<table>\n<tr><th>started</th><th>duration</th><th>user</th>\
             <th>target</th><th>command</th><th>state</th></tr>\n{}</table>\n{more}",
            sources.len(),
            form(""),
            rows.concat()
        )
    }

    /// What it is sorted by, and a row of the table.
    fn row(&self, source: &Source) -> (String, String) {
        let name = escape(&safe::short(&source.id(), 60));
        let summary = match self.summary(source) {
            Ok(summary) => summary,
            Err(error) => {
                let error = escape(&safe::line(&error.to_string()));
                let row = format!(
                    "<tr><td colspan=\"5\" class=\"cut\">{name}</td><td>{error}</td></tr>\n"
                );
                return (String::new(), row);
            }
        };
        let about = &summary.about;
        let text = |text: Option<&str>| escape(&safe::short(text.unwrap_or("-"), 100));
        let started = about
            .started
            .map(|at| date(at, &self.zone))
            .unwrap_or_default();
        let place = about.place().or_else(|| about.title.clone());
        let state = match (summary.state(), summary.exit) {
            (Condition::Whole, Some(exit)) => format!("exit {exit}"),
            (Condition::Whole, None) => String::new(),
            (Condition::Unfinished, _) => "no end yet".into(),
            (Condition::Damaged, _) => format!("{} warnings", summary.warnings.len()),
        };
        let shown = if started.is_empty() { &name } else { &started };
        let row = format!(
            "<tr><td><a href=\"play/{}\" title=\"{name}\">{shown}</a></td><td>{}</td><td>{}</td>\
             <td>{}</td><td class=\"cut\">{}</td><td>{state}</td></tr>\n",
            key(source),
            Clock(summary.duration),
            text(about.user.as_deref()),
            text(place.as_deref()),
            text(about.command.as_deref().or(about.kind.as_deref())),
        );
        (format!("{started} {name}"), row)
    }

    fn summary(&self, source: &Source) -> io::Result<Arc<Summary>> {
        let Source::File(path) = source else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let size = std::fs::metadata(path)?.len();
        let mut known = self
            .summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((of, summary)) = known.get(path)
            && *of == size
        {
            return Ok(summary.clone());
        }
        drop(known);
        let read = Summary::read(source.open()?);
        let summary = Arc::new(read.map_err(|error| io::Error::other(error.to_string()))?);
        known = self
            .summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() < LISTED_MAX {
            known.insert(path.clone(), (size, summary.clone()));
        }
        Ok(summary)
    }

    fn search(&self, query: &str) -> String {
        let query = query
            .get(..query.floor_char_boundary(QUERY_MAX))
            .unwrap_or_default();
        let mut out = format!(
            "<h1><a href=\"./\">recordings</a>: search</h1>\n{}",
            form(query)
        );
        if query.is_empty() {
            return out;
        }
        let Some(pattern) = Pattern::of_text(query) else {
            return out + "<p>this cannot be searched for</p>\n";
        };
        let mut hits = 0;
        for source in self.sources() {
            let Source::File(path) = &source else {
                continue;
            };
            let mut rows = String::new();
            let looked = lines::look(path, &self.keeper, Some(&pattern), &mut |line: &Line| {
                if pattern.is_in(&line.text) {
                    hits += 1;
                    rows.push_str(&hit(&source, line));
                }
                hits < HITS_MAX
            });
            if let Err(error) = looked {
                let error = escape(&safe::line(&error.to_string()));
                rows.push_str(&format!("<tr><td></td><td>{error}</td></tr>\n"));
            }
            if !rows.is_empty() {
                let name = escape(&source.name());
                out.push_str(&format!(
                    "<p class=\"dim\">{name}</p>\n<table>{rows}</table>\n"
                ));
            }
            if hits >= HITS_MAX {
                out.push_str("<p>There are more; search for something rarer.</p>\n");
                break;
            }
        }
        if hits == 0 {
            out.push_str("<p>It was on no screen.</p>\n");
        }
        out
    }

    /// The player of a recording; one that is open already where the file is as it was.
    fn player(&self, wanted: &str) -> io::Result<Arc<Mutex<Player>>> {
        let mut sources = self.sources().into_iter();
        let source = sources.find(|source| key(source) == wanted);
        let source = source.ok_or(io::ErrorKind::NotFound)?;
        let Source::File(path) = &source else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let size = std::fs::metadata(path)?.len();
        {
            let mut players = self.players.lock().unwrap_or_else(PoisonError::into_inner);
            players.retain(|open| {
                let stale = || open.player.lock().is_ok_and(|player| player.is_stale());
                open.key != wanted || open.size == size && !stale()
            });
            if let Some(open) = players.iter().find(|open| open.key == wanted) {
                return Ok(open.player.clone());
            }
        }
        let player = opened::player(&source, &self.keeper)?;
        if player.is_no_recording() {
            return Err(io::Error::other("this is not a recording"));
        }
        let player = Arc::new(Mutex::new(player));
        let mut players = self.players.lock().unwrap_or_else(PoisonError::into_inner);
        players.push_front(Opened {
            key: wanted.to_owned(),
            size,
            player: player.clone(),
        });
        players.truncate(PLAYERS_KEPT);
        Ok(player)
    }
}

fn hit(source: &Source, line: &Line) -> String {
    format!(
        "<tr><td><a href=\"play/{}#t={}\">{}</a></td><td><pre>{}</pre></td></tr>\n",
        key(source),
        line.time.div_ceil(1000),
        Clock(line.time),
        escape(&line.text)
    )
}
