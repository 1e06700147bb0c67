"""A second server, on asyncssh: a target that takes a password, or that misbehaves.

Arguments: one JSON document {"password", "host_key", "mode"}. The first line printed is {"port"}.
"""

import asyncio
import json
import sys

import asyncssh
from asyncssh.packet import String, UInt32

ASK = json.loads(sys.argv[1])


class Server(asyncssh.SSHServer):
    def connection_made(self, connection):
        self.connection = connection

    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return ASK["mode"] != "keyboard-interactive"

    def validate_password(self, username, password):
        return password == ASK["password"]

    def kbdint_auth_supported(self):
        return ASK["mode"] == "keyboard-interactive"

    def get_kbdint_challenge(self, username, lang, submethods):
        return "Sign in", "", "en", [("Password: ", False)]

    def validate_kbdint_response(self, username, responses):
        return responses == [ASK["password"]]


async def session(process):
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
    server = await asyncssh.create_server(
        Server, "127.0.0.1", 0, server_host_keys=[ASK["host_key"]], process_factory=session
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
