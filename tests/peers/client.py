"""A second client, on asyncssh. One JSON document in (the only argument), one out (standard output).

{"port", "key", "host_key", "user", "do", ...}
"""

import asyncio
import json
import sys
import time

import asyncssh


def connect(ask):
    host_key = asyncssh.import_public_key(ask["host_key"])
    return asyncssh.connect(
        "127.0.0.1",
        ask["port"],
        username=ask["user"],
        client_keys=[ask["key"]] if ask.get("key") else [],
        known_hosts=([host_key], [], []),
        agent_path=None,
        config=None,
        preferred_auth=ask.get("auth", "publickey"),
        connect_timeout=30,
        login_timeout=30,
    )


def ended(result):
    return {
        "status": result.exit_status,
        "signal": list(result.exit_signal)[:2] if result.exit_signal else None,
        "said": result.exit_signal[2] if result.exit_signal else None,
        "stdout": result.stdout.decode("latin-1"),
        "stderr": result.stderr.decode("latin-1"),
    }


async def run(ask):
    """Runs commands one after the other on one connection."""
    answers = []
    async with connect(ask) as connection:
        for command in ask["commands"]:
            result = await connection.run(
                command, encoding=None, input=ask.get("input", "").encode("latin-1"), env=ask.get("env", {}),
                term_type=ask.get("term"), term_size=tuple(ask.get("size", (80, 24))),
            )
            answers.append(ended(result))
    return answers


async def signal(ask):
    """Starts a command, waits for its first line, sends a signal."""
    async with connect(ask) as connection:
        process = await connection.create_process(ask["command"], encoding=None)
        await process.stdout.readline()
        process.send_signal(ask["signal"])
        return ended(await process.wait())


async def channels(ask):
    """Opens as many channels as are granted, up to `count`; says how many, and how the next one failed."""
    async with connect(ask) as connection:
        held, failure = [], None
        for _ in range(ask["count"]):
            try:
                held.append(await connection.create_process("cat", encoding=None))
            except asyncssh.ChannelOpenError as error:
                failure = [error.code, error.reason]
                break
        granted = len(held)
        # One that ends makes room for one more.
        again = None
        if held:
            first = held.pop(0)
            first.stdin.write_eof()
            await first.wait()
            try:
                held.append(await connection.create_process("cat", encoding=None))
                again = True
            except asyncssh.ChannelOpenError as error:
                again = error.reason
        echoes = []
        for process in held:
            process.stdin.write(b"still here\n")
            echoes.append((await process.stdout.readline()).decode())
            process.stdin.write_eof()
        return {"granted": granted, "failure": failure, "again": again, "echoes": echoes}


async def churn(ask):
    """Opens and ends `count` channels one after the other; says how many were granted before a refusal."""
    async with connect(ask) as connection:
        for done in range(ask["count"]):
            try:
                await connection.run("true", encoding=None)
            except asyncssh.ChannelOpenError as error:
                return {"granted": done, "failure": error.reason}
        return {"granted": ask["count"], "failure": None}


async def sizes(ask):
    """A terminal whose size changes; the command prints what it sees."""
    async with connect(ask) as connection:
        process = await connection.create_process(
            ask["command"], encoding=None, term_type="xterm", term_size=tuple(ask["first"])
        )
        seen = [(await process.stdout.readline()).decode().strip()]
        for size in ask["then"]:
            process.change_terminal_size(*size)
            seen.append((await process.stdout.readline()).decode().strip())
        process.stdin.write_eof()
        process.terminate()
        process.close()
        return seen


async def resizes(ask):
    """A terminal whose size changes once, and `count` times at once when the command has seen that; says which changes
    the command saw until the last, and how long after the first was sent that was."""
    async with connect(ask) as connection:
        process = await connection.create_process(
            ask["command"], encoding=None, term_type="xterm", term_size=(80, 24)
        )
        await process.stdout.readline()
        since = time.monotonic()
        process.change_terminal_size(99, 30)
        seen = [(await process.stdout.readline()).decode().strip()]
        for n in range(ask["count"]):
            process.change_terminal_size(100 + n, 30)
        while seen[-1] != f"30 {100 + ask['count'] - 1}":
            seen.append((await process.stdout.readline()).decode().strip())
        took = time.monotonic() - since
        process.terminate()
        process.close()
        return {"seen": seen, "took": took}


async def sftp(ask):
    """Writes and reads a file back over sftp."""
    async with connect(ask) as connection:
        async with connection.start_sftp_client() as client:
            await client.put(ask["from"], ask["to"])
            await client.get(ask["to"], ask["back"])
            return {"listed": sorted(await client.listdir(ask["folder"])), "size": (await client.stat(ask["to"])).size}


async def forward(ask):
    """Asks for every kind of forwarding; says how each was refused."""
    answers = {}
    async with connect(ask) as connection:
        async def attempt(what, awaitable):
            try:
                await asyncio.wait_for(awaitable, 20)
                answers[what] = "granted"
            except asyncio.TimeoutError:
                answers[what] = "unanswered"
            except (asyncssh.Error, asyncssh.ChannelListenError, OSError) as error:
                answers[what] = f"refused: {type(error).__name__}"

        port = ask["to_port"]
        await attempt("direct-tcpip", connection.open_connection("127.0.0.1", port))
        await attempt("direct-tcpip to a name", connection.open_connection("localhost", port))
        await attempt("direct-streamlocal", connection.open_unix_connection(ask["to_path"]))
        await attempt("tcpip-forward", connection.start_server(lambda *_: None, "127.0.0.1", 0))
        await attempt("streamlocal-forward", connection.start_unix_server(lambda: None, ask["to_path"] + "-listen"))
        result = await connection.run("echo still here", encoding=None)
        answers["after"] = ended(result)["stdout"]
    # A channel type that the SSH library does not know, with a payload, ends the connection there.
    for what in ("open_tun", "open_tap"):
        try:
            async with connect(ask) as connection:
                await asyncio.wait_for(getattr(connection, what)(), 20)
                answers[what] = "granted"
        except asyncio.TimeoutError:
            answers[what] = "unanswered"
        except (asyncssh.Error, OSError) as error:
            answers[what] = f"refused: {type(error).__name__}"
    return answers


async def main():
    ask = json.loads(sys.argv[1])
    does = {f.__name__: f for f in (run, signal, channels, churn, sizes, resizes, sftp, forward)}
    print(json.dumps(await does[ask["do"]](ask)))


asyncio.run(main())
