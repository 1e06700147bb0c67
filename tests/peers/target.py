"""A second server, on asyncssh: a target that takes a password, asks for it, or misbehaves.

Arguments: one JSON document {"password", "host_key", "mode"}. The first line printed is {"port"}.
"""

import asyncio
import json
import sys

import asyncssh
from asyncssh.packet import String, UInt32

ASK = json.loads(sys.argv[1])
ASKS = ASK["mode"].startswith(("keyboard-interactive", "asks-"))
# What a target says before the sign-in is for nobody's screen.
SAID = "said by the target 5c1e"


class Server(asyncssh.SSHServer):
    def connection_made(self, connection):
        self.connection = connection

    def begin_auth(self, username):
        if ASK["mode"] == "floods-banners":
            self.flood = asyncio.get_running_loop().create_task(banners(self.connection))
        return True

    def session_requested(self):
        # Its shell, commands and subsystems are refused, each by an answer of its own.
        return asyncssh.SSHServerSession()

    def password_auth_supported(self):
        return not ASKS

    def validate_password(self, username, password):
        return password == ASK["password"]

    def kbdint_auth_supported(self):
        return ASKS

    def get_kbdint_challenge(self, username, lang, submethods):
        prompts = {"asks-openly": [("Password: ", True)], "asks-two": [("Password: ", False), ("Token: ", False)],
                   "asks-nothing": []}
        return SAID, SAID, "en", prompts.get(ASK["mode"], [("Password: ", False)])

    def validate_kbdint_response(self, username, responses):
        print(json.dumps({"answered": responses}), flush=True)
        more = {"asks-again": [("Password: ", False)], "asks-nothing": [], "asks-twice": [("Token: ", False)]}
        if ASK["mode"] in more:
            return SAID, SAID, "en", more[ASK["mode"]]
        return responses == [ASK["password"]]


async def banners(connection):
    """Banners until the connection is gone."""
    while True:
        try:
            connection.send_auth_banner(SAID + "x" * 30_000)
        except (asyncssh.Error, OSError):
            return
        await asyncio.sleep(0)


async def endless_prompts(self, challenge):
    """2^32 - 1 prompts, of which none comes."""
    self.send_packet(asyncssh.auth.MSG_USERAUTH_INFO_REQUEST, String(SAID), String(SAID), String("en"),
                     UInt32(2**32 - 1))


async def bare(reader, writer):
    """What is hardly SSH: a version that does not come, or a key exchange that does not end."""
    try:
        while True:
            if ASK["mode"] == "bare-lines":
                writer.write((SAID + "\r\n").encode() * 1000)
            elif ASK["mode"] == "bare-line":
                writer.write(b"x" * 65536)
            else:
                writer.write(b"SSH-2.0-slow\r\n" + bytes([0, 0, 0x80, 0, 4, 20]))
                while True:
                    writer.write(b"\0")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            await writer.drain()
            await asyncio.sleep(0)
    except OSError:
        pass


async def session(process):
    if ASK["mode"] == "dies":
        process.stdout.write("said before\n")
        await process.stdin.readline()
        process.channel.get_connection().abort()
        return
    if ASK["mode"] == "signals-oddly":
        process.exit_with_signal("SECRET-4111@example.test", True, SAID)
        return
    if ASK["mode"].startswith("opens-"):
        # A hostile target asks the bastion for channels of every kind.
        connection = process.channel.get_connection()
        here, port = String("127.0.0.1"), UInt32(ASK.get("to_port", 1))
        kinds = [
            (b"auth-agent@openssh.com",),
            (b"x11", here, UInt32(1)),
            (b"forwarded-tcpip", here, port, here, UInt32(1)),
            (b"forwarded-streamlocal@openssh.com", String("/tmp/any"), String("")),
            (b"direct-tcpip", here, port, here, UInt32(1)),
            (b"direct-streamlocal@openssh.com", String("/tmp/any"), String(""), UInt32(0)),
            (b"session",),
            (b"tun@openssh.com", UInt32(1), UInt32(0)),
            (b"nobody-knows@example.test", String("what this is")),
        ]
        if ASK["mode"] == "opens-nonsense":
            # Too short for its type: there is nothing to answer.
            kinds = [(b"x11", UInt32(0))]
        else:
            kinds = [kind for kind in kinds if kind[0].decode() == process.command]
            assert kinds, process.command
        opened = []
        for kind, *rest in kinds:
            try:
                channel = asyncssh.channel.SSHTCPChannel(connection, asyncio.get_running_loop(), None, "strict",
                                                         1 << 20, 1 << 15)
                await asyncio.wait_for(channel._open(kind, *rest), 20)
                opened.append(kind.decode())
            except asyncssh.ChannelOpenError:
                pass
            except asyncio.TimeoutError:
                opened.append(kind.decode() + " unanswered")
        process.stdout.write(json.dumps(opened) + "\n")
    elif ASK["mode"] == "signals":
        process.stdout.write("ready\n")
        try:
            await process.stdin.readline()
        except asyncssh.SignalReceived as received:
            process.stdout.write(f"caught {received.signal}\n")
        process.exit(9)
        return
    else:
        process.stdout.write(f"{ASK['mode']}: {process.command}\n")
    process.exit(0)


async def main():
    if ASK["mode"] == "asks-endlessly":
        asyncssh.auth._ServerKbdIntAuth._send_challenge = endless_prompts
    if ASK["mode"].startswith("bare-"):
        server = await asyncio.start_server(bare, "127.0.0.1", 0)
    else:
        starts = None if ASK["mode"] == "starts-nothing" else session
        server = await asyncssh.create_server(
            Server, "127.0.0.1", 0, server_host_keys=[ASK["host_key"]], process_factory=starts
        )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
