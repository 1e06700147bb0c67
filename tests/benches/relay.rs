//! What the bastion costs, as ratios to a direct `ssh` and to `ssh -J` through an OpenSSH jump host, in one run.
//!
//! `cargo bench -p tests --bench relay [-- --size MIB --rounds N --keys N --sessions N --strict]`. Recording is on, the cipher is
//! aes128-gcm, the text looks like what people print. Each figure is a median over rounds in which the ways take
//! turns, so that a machine with other things to do changes all of them alike. The goals are printed beside them;
//! with `--strict` one that is missed is a failure.
#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

mod lines;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tests::bars::Bars;
use tests::process::Running;
use tests::sshd::{Options, Sshd};
use tests::world::{Setup, World};

/// How much is measured.
struct Scale {
    mib: usize,
    rounds: usize,
    keys: usize,
    sessions: usize,
}

fn main() -> Result<()> {
    let (scale, bars) = scale()?;
    let bench = Bench::prepare(&scale, bars)?;
    println!(
        "{} MiB of text, {} rounds, medians; recording on, aes128-gcm\n",
        scale.mib, scale.rounds
    );
    bench.bulk(&scale)?;
    bench.keystrokes(&scale)?;
    bench.first_byte(&scale)?;
    bench.idle(&scale)?;
    bench.bars.end()
}

fn scale() -> Result<(Scale, Bars)> {
    let mut scale = Scale {
        mib: 512,
        rounds: 5,
        keys: 2000,
        sessions: 60,
    };
    let bars = Bars::from_options(&mut [
        ("--size", &mut scale.mib),
        ("--rounds", &mut scale.rounds),
        ("--keys", &mut scale.keys),
        ("--sessions", &mut scale.sessions),
    ])?;
    ensure!(
        scale.mib > 0 && scale.rounds > 0 && scale.keys > 0 && scale.sessions > 0,
        "numbers above 0"
    );
    Ok((scale, bars))
}

/// The ways to the same sshd; `scanned` is through the bastion, too, where a rule with every detector stands between.
const WAYS: [&str; 4] = ["direct", "bastion", "jump", "scanned"];

/// Every detector that there is.
const PROTECT: &str = r#"[[rule]]
name = "everything"
targets = ["vault"]
fields = ["ssn", "salary"]
detect = ["payment-card", "us-ssn", "iban", "email", "jwt", "aws-key", "private-key", "url-password", "github-token", "slack-token", "phone"]
action = { mask = "redact" }
"#;

struct Bench {
    world: World,
    config: PathBuf,
    text: PathBuf,
    bytes: u64,
    _jump: Sshd,
    bars: Bars,
}

impl Bench {
    fn prepare(scale: &Scale, bars: Bars) -> Result<Self> {
        let world = World::start(&Setup {
            protect: PROTECT.to_owned(),
            ..Setup::default()
        })?;
        let jump = Sshd::start(&world.place("jump-")?.join("sshd"), &Options::default())?;
        let client = world.signed_in()?;
        let config = client.config();
        let added = format!(
            "Host jump-host
  HostName 127.0.0.1
  Port {}
  User {}
  IdentityFile {}
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
Host jump
  HostName 127.0.0.1
  HostKeyAlias direct
  Port {}
  User {}
  IdentityFile {}
  ProxyJump jump-host
Host *
  Ciphers aes128-gcm@openssh.com
",
            jump.port,
            jump.login,
            jump.user_key.display(),
            world.sshd.port,
            world.sshd.login,
            world.sshd.user_key.display(),
        );
        let own = std::fs::read_to_string(&config)?;
        std::fs::write(&config, added + &own)?;
        let text = world.place("text-")?.join("text");
        let bytes = write_text(&text, scale.mib)?;
        Ok(Self {
            world,
            config,
            text,
            bytes,
            _jump: jump,
            bars,
        })
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .arg("-F")
            .arg(&self.config)
            .args(["-o", "BatchMode=yes"]);
        command
    }

    fn destination(&self, way: &str) -> String {
        let login = &self.world.sshd.login;
        match way {
            "bastion" => format!("{login}@box@bastion"),
            "scanned" => format!("{login}@vault@bastion"),
            _ => way.to_owned(),
        }
    }

    /// Bulk both ways: speed, ratios, processor time of `serve` and of the recorder.
    fn bulk(&self, scale: &Scale) -> Result<()> {
        for (name, command, goal) in [
            ("download", format!("cat {}", self.text.display()), 0.65),
            ("upload", "cat >/dev/null".to_owned(), 0.65),
        ] {
            let mut times = [const { Vec::new() }; WAYS.len()];
            let mut busy = [const { Vec::new() }; WAYS.len()];
            let (mut serve, mut recorder, mut scanned) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..scale.rounds {
                for ((way, times), busy) in WAYS.iter().zip(&mut times).zip(&mut busy) {
                    let before = self.world.bastion()?.cpu()?;
                    let machine = busy_seconds()?;
                    let input = if name == "upload" {
                        File::open(&self.text)?
                    } else {
                        File::open("/dev/null")?
                    };
                    let mut ssh = self.ssh();
                    ssh.args([&self.destination(way), "--", &command]);
                    ssh.stdin(input)
                        .stdout(File::create("/dev/null")?)
                        .stderr(Stdio::inherit());
                    let since = Instant::now();
                    let status =
                        Running::start("ssh", &mut ssh)?.wait_for(Duration::from_secs(600))?;
                    times.push(since.elapsed().as_secs_f64());
                    busy.push(busy_seconds()? - machine);
                    ensure!(status.success(), "{way}: {status}");
                    let after = self.world.bastion()?.cpu()?;
                    match *way {
                        "bastion" => {
                            serve.push(after.0 - before.0);
                            recorder.push(after.1 - before.1);
                        }
                        "scanned" => scanned.push(after.0 + after.1 - before.0 - before.1),
                        _ => {}
                    }
                }
            }
            let [direct, bastion, jump, through_rules] = times.map(|mut times| median(&mut times));
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let (mega, giga) = (self.bytes as f64 / 1e6, self.bytes as f64 / 1e9);
            println!(
                "{name:9} direct {:4.0} MB/s, bastion {:4.0} MB/s, ssh -J {:4.0} MB/s, scanned {:4.0} MB/s",
                mega / direct,
                mega / bastion,
                mega / jump,
                mega / through_rules
            );
            println!(
                "          bastion/direct {:.2} (goal >= {goal}) {}; bastion/ssh -J {:.2} (goal >= 1) {}",
                direct / bastion,
                self.bars.verdict(
                    &format!("{name}: bastion/direct {goal}"),
                    direct / bastion >= goal
                ),
                jump / bastion,
                self.bars
                    .verdict(&format!("{name}: bastion/ssh -J 1"), jump / bastion >= 1.0)
            );
            let (serve, recorder) = (median(&mut serve) / giga, median(&mut recorder) / giga);
            println!(
                "          {:.2} CPU-s/GB (serve {serve:.2}, recorder {recorder:.2}; goal <= 3.7) {}",
                serve + recorder,
                self.bars
                    .verdict(&format!("{name}: 3.7 CPU-s/GB"), serve + recorder <= 3.7)
            );
            let scanned = median(&mut scanned) / giga;
            println!(
                "          {scanned:.2} CPU-s/GB scanned, every detector (goal <= 5) {}",
                self.bars.verdict(
                    &format!("{name}, every detector: 5 CPU-s/GB"),
                    scanned <= 5.0
                )
            );
            // Where the cores are full, more speed is less work, and nothing else.
            let cores = std::thread::available_parallelism()?.get();
            let [direct, bastion, jump, _] = busy.map(|mut busy| median(&mut busy) / giga);
            println!(
                "          the whole machine ({cores} cores): direct {direct:.1} CPU-s/GB, bastion {bastion:.1}, ssh -J {jump:.1}\n"
            );
        }
        Ok(())
    }

    /// One byte there and back through a terminal on the target, the ways taking turns.
    fn keystrokes(&self, scale: &Scale) -> Result<()> {
        let mut echoes = WAYS
            .iter()
            .map(|way| Echo::start(self, way))
            .collect::<Result<Vec<_>>>()?;
        for _ in 0..100 {
            for echo in &mut echoes {
                echo.once()?;
            }
        }
        for echo in &mut echoes {
            echo.times.clear();
        }
        for _ in 0..scale.keys {
            for echo in &mut echoes {
                echo.once()?;
            }
        }
        let at = |echo: &mut Echo, share: f64| quantile(&mut echo.times, share) * 1e3;
        let mut figures = Vec::new();
        for (way, echo) in WAYS.iter().zip(&mut echoes) {
            figures.push((at(echo, 0.5), at(echo, 0.99)));
            println!(
                "keystroke {way:8} p50 {:.3} ms, p99 {:.3} ms",
                at(echo, 0.5),
                at(echo, 0.99)
            );
        }
        let [direct, bastion, _, scanned] = figures[..] else {
            bail!("a figure for each way")
        };
        for (name, figure, than) in [
            ("bastion", bastion, direct),
            ("every detector", scanned, bastion),
        ] {
            let added = figure.1 - than.1;
            println!(
                "          {name} adds p50 {:.3} ms, p99 {added:.3} ms (goal <= 1) {}",
                figure.0 - than.0,
                self.bars
                    .verdict(&format!("keystroke, {name}: p99 1 ms more"), added <= 1.0)
            );
        }
        println!();
        Ok(())
    }

    /// From starting `ssh`, with a lease, to the first byte of the command.
    fn first_byte(&self, scale: &Scale) -> Result<()> {
        let mut times = [const { Vec::new() }; WAYS.len()];
        for _ in 0..scale.rounds * 4 {
            for (way, times) in WAYS.iter().zip(&mut times) {
                let mut ssh = self.ssh();
                ssh.args([&self.destination(way), "--", "echo"]);
                ssh.stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::inherit());
                let since = Instant::now();
                let mut running = Running::start("ssh", &mut ssh)?;
                running.raw_stdout()?.read_exact(&mut [0])?;
                times.push(since.elapsed().as_secs_f64() * 1e3);
                running.wait()?;
            }
        }
        let [direct, bastion, jump, _] = times.map(|mut times| median(&mut times));
        println!("first byte direct {direct:.0} ms, bastion {bastion:.0} ms, ssh -J {jump:.0} ms");
        println!(
            "          added {:.0} ms (goal <= 50) {}\n",
            bastion - direct,
            self.bars
                .verdict("first byte: 50 ms more", bastion - direct <= 50.0)
        );
        Ok(())
    }

    /// Resident memory of sessions that have printed something and stand idle.
    fn idle(&self, scale: &Scale) -> Result<()> {
        let bastion = self.world.bastion()?;
        let mut sessions = Vec::new();
        let mut opened = |count: usize| -> Result<()> {
            for _ in 0..count {
                let mut echo = Echo::start(self, "bastion")?;
                for _ in 0..20 {
                    echo.once()?;
                }
                sessions.push(echo);
            }
            Ok(())
        };
        // The first ones pay for what the process keeps anyway.
        opened(10)?;
        let before = settled(bastion)?;
        opened(scale.sessions)?;
        let after = settled(bastion)?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let each = |after: u64, before: u64| {
            (after as f64 - before as f64) / scale.sessions as f64 / 1024.0
        };
        let (serve, recorder) = (
            each(after.serve, before.serve),
            each(after.recorder, before.recorder),
        );
        println!(
            "idle session {:.0} KiB (serve {serve:.0}, recorder {recorder:.0}; goal <= 300) {}",
            serve + recorder,
            self.bars
                .verdict("idle session: 300 KiB", serve + recorder <= 300.0)
        );
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        println!(
            "after {} sessions: serve {:.1} MiB, recorder {:.1} MiB",
            sessions.len(),
            mib(after.serve),
            mib(after.recorder)
        );
        Ok(())
    }
}

/// Memory once it has not fallen for three seconds, at most half a minute from now.
fn settled(bastion: &tests::bastion::Bastion) -> Result<tests::bastion::Memory> {
    let mut lowest = bastion.memory()?;
    let mut since = Instant::now();
    for _ in 0..30 {
        std::thread::sleep(Duration::from_secs(1));
        let now = bastion.memory()?;
        if now.sum() < lowest.sum() {
            (lowest, since) = (now, Instant::now());
        } else if since.elapsed() > Duration::from_secs(3) {
            lowest = now;
            break;
        }
    }
    Ok(lowest)
}

/// A session that sends back each byte.
struct Echo {
    running: Running,
    stdin: std::process::ChildStdin,
    stdout: std::process::ChildStdout,
    typed: std::iter::Cycle<std::slice::Iter<'static, u8>>,
    times: Vec<f64>,
}

/// What is typed, over and over: with digits, quotes and signs that may begin what a detector looks for.
const TYPED: &[u8] =
    b"select name, city from orders where id = 4111 and day > '2026-03-01' -- a@b: eyJ ";

impl Echo {
    fn start(bench: &Bench, way: &str) -> Result<Self> {
        let mut ssh = bench.ssh();
        ssh.args([
            "-tt",
            &bench.destination(way),
            "--",
            "stty raw -echo; printf +; exec cat",
        ]);
        ssh.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut running = Running::start("ssh", &mut ssh)?;
        let stdin = running.stdin().context("a pipe")?;
        let mut stdout = running.raw_stdout()?;
        let mut first = [0];
        while first != *b"+" {
            stdout.read_exact(&mut first)?;
        }
        Ok(Self {
            running,
            stdin,
            stdout,
            typed: TYPED.iter().cycle(),
            times: Vec::new(),
        })
    }

    fn once(&mut self) -> Result<()> {
        let key = self.typed.next().context("a key")?;
        let mut echo = [0];
        let since = Instant::now();
        self.stdin.write_all(std::slice::from_ref(key))?;
        self.stdout
            .read_exact(&mut echo)
            .with_context(|| format!("session {}", self.running.id()))?;
        self.times.push(since.elapsed().as_secs_f64());
        ensure!(echo == [*key], "the key {key} came back as {echo:?}");
        Ok(())
    }
}

/// Processor time that everything on this machine has used.
fn busy_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("a line of all processors")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // proc(5): user nice system idle iowait irq softirq steal; guests are in user.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let all: u64 = ticks.iter().take(8).sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let busy = (all - idle) as f64;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(busy / per_second)
}

fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = (share * (values.len() - 1) as f64).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// Lines as services log them: JSON, a table, plain text; few repeats, so that it compresses as such text does.
fn write_text(path: &Path, mib: usize) -> Result<u64> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (limit, mut written, mut n) = (mib * (1 << 20), 0, 0_u64);
    while written < limit {
        n += 1;
        let line = lines::mixed(n, next(), next());
        file.write_all(line.as_bytes())?;
        written += line.len();
    }
    file.into_inner()?;
    Ok(written as u64)
}
