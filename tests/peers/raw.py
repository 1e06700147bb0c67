"""Messages that no well-behaved client sends, on paramiko's transport. One JSON document in, one out.

{"port", "key", "user", "do", ...}
"""

import json
import logging
import os
import queue
import socket
import sys
import threading
import time

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.auth_handler import AuthHandler
from paramiko.common import cMSG_CHANNEL_REQUEST, cMSG_SERVICE_REQUEST, cMSG_USERAUTH_REQUEST
from paramiko.message import Message

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
NAMES = {6: "service-accept", 51: "failure", 52: "success", 53: "banner", 60: "60"}
WAIT = 45


class Answers(AuthHandler):
    """Passes every authentication message on, unread."""

    def __init__(self, transport):
        super().__init__(transport)
        self.got = queue.Queue()

    @property
    def _handler_table(self):
        def keep(number):
            return lambda message: self.got.put((NAMES.get(number, str(number)), message))

        return {number: keep(number) for number in [6, *range(50, 80)]}

    def abort(self):
        self.got.put(("closed", None))


def start(ask):
    transport = paramiko.Transport(socket.create_connection(("127.0.0.1", ask["port"]), 30))
    transport.start_client(timeout=30)
    return transport


def before(ask):
    transport = start(ask)
    answers = Answers(transport)
    transport.auth_handler = answers
    message = Message()
    message.add_byte(cMSG_SERVICE_REQUEST)
    message.add_string("ssh-userauth")
    transport._send_message(message)
    assert answers.got.get(timeout=WAIT)[0] == "service-accept"
    return transport, answers


def request(ask, method, *fields):
    message = Message()
    message.add_byte(cMSG_USERAUTH_REQUEST)
    message.add_string(ask["user"])
    message.add_string("ssh-connection")
    message.add_string(method)
    for field in fields:
        if isinstance(field, bool):
            message.add_boolean(field)
        else:
            message.add_string(field)
    return message


def say(transport, answers, message):
    """Sends a message; answers with what came back, banners aside."""
    try:
        transport._send_message(message)
    except (OSError, EOFError):
        return "closed"
    while True:
        got = answers.got.get(timeout=WAIT)[0]
        if got != "banner":
            return got


def failures(ask):
    """Fails with a method until the connection is closed; says how often that went."""
    transport, answers = before(ask)
    got = []
    for _ in range(ask["count"]):
        fields = {"password": (False, "wrong"), "none": (), "hostbased": ("ssh-ed25519", b"", "h", "u", b""),
                  "nonsense@example.test": ()}[ask["method"]]
        got.append(say(transport, answers, request(ask, ask["method"], *fields)))
        if got[-1] == "closed":
            break
    transport.close()
    return got


def bad_signatures(ask):
    """Proves a key with a signature that is wrong, until the connection is closed."""
    transport, answers = before(ask)
    got = []
    for _ in range(ask["count"]):
        key = paramiko.Ed25519Key.from_private_key_file(ask["key"])
        signature = Message()
        signature.add_string("ssh-ed25519")
        signature.add_string(b"\x01" * 64)
        blob = request(ask, "publickey", True, "ssh-ed25519", key.asbytes(), signature.asbytes())
        got.append(say(transport, answers, blob))
        if got[-1] == "closed":
            break
    transport.close()
    return got


def outcome(transport, answers, message):
    """Sends an authentication request; says what came of it. Instructions go to standard error."""
    try:
        transport._send_message(message)
    except (OSError, EOFError):
        return "closed"
    while True:
        got, answer = answers.got.get(timeout=WAIT)
        if got == "failure":
            answer.get_string()
            return "partial" if answer.get_boolean() else "failure"
        if got == "60" and message.asbytes().find(b"keyboard-interactive") >= 0:
            answer.get_string()
            print(answer.get_text(), file=sys.stderr, flush=True)
            return "asked"
        if got != "banner":
            return got


def signed(key, session, user, service="ssh-connection", method="publickey", proven=True, number=cMSG_USERAUTH_REQUEST,
           algorithm="ssh-ed25519", blob=None):
    """A key's signature (RFC 4252, section 7) of a request, which need not be the one that it goes with."""
    data = Message()
    data.add_string(session)
    data.add_byte(number)
    data.add_string(user)
    data.add_string(service)
    data.add_string(method)
    data.add_boolean(proven)
    data.add_string(algorithm)
    data.add_string(key.asbytes() if blob is None else blob)
    return key.sign_ssh_data(data.asbytes()).asbytes()


def signature(kind, bytes_):
    message = Message()
    message.add_string(kind)
    message.add_string(bytes_)
    return message.asbytes()


def false_proofs(ask):
    """Each kind of proof that is none, on a connection of its own: what came of it, and of asking to go on as whoever
    proved a key. The last one is true."""
    key = paramiko.Ed25519Key.from_private_key_file(ask["key"])
    stranger = paramiko.Ed25519Key.from_private_key_file(ask["stranger"])
    user, blob, kind = ask["user"], key.asbytes(), "ssh-ed25519"
    earlier, _ = before(ask)
    replayed = signed(key, earlier.session_id, user)
    earlier.close()

    def bare(session):
        """The 64 bytes of the true signature."""
        message = Message(signed(key, session, user))
        message.get_string()
        return message.get_string()

    def flipped(session, at):
        bytes_ = bytearray(bare(session))
        bytes_[at] ^= 1
        return bytes(bytes_)

    # From the connection's session id: the request's algorithm and key, and the signature.
    cases = {
        "of another session": lambda s: (kind, blob, signed(key, os.urandom(len(s)), user)),
        "of an earlier connection": lambda s: (kind, blob, replayed),
        "of no session": lambda s: (kind, blob, signed(key, b"", user)),
        "of another user": lambda s: (kind, blob, signed(key, s, "somebody@" + user)),
        "of another service": lambda s: (kind, blob, signed(key, s, user, service="ssh-userauth")),
        "of another method": lambda s: (kind, blob, signed(key, s, user, method="hostbased")),
        "of an offer": lambda s: (kind, blob, signed(key, s, user, proven=False)),
        "of another message": lambda s: (kind, blob, signed(key, s, user, number=b"\x33")),
        "of another algorithm": lambda s: (kind, blob, signed(key, s, user, algorithm="rsa-sha2-512")),
        "of another key's request": lambda s: (kind, blob, signed(key, s, user, blob=stranger.asbytes())),
        "by another key": lambda s: (kind, blob, signed(stranger, s, user, blob=blob)),
        "by another key, for itself": lambda s: (kind, blob, signed(stranger, s, user)),
        "with a bit wrong in front": lambda s: (kind, blob, signature(kind, flipped(s, 0))),
        "with a bit wrong in the middle": lambda s: (kind, blob, signature(kind, flipped(s, 32))),
        "cut short": lambda s: (kind, blob, signature(kind, bare(s)[:-1])),
        "with a byte more": lambda s: (kind, blob, signature(kind, bare(s) + b"\0")),
        "empty": lambda s: (kind, blob, signature(kind, b"")),
        "of zeros": lambda s: (kind, blob, signature(kind, bytes(64))),
        "no signature": lambda s: (kind, blob, b""),
        "named as another algorithm": lambda s: (kind, blob, signature("rsa-sha2-512", bare(s))),
        "named as none": lambda s: (kind, blob, signature("none", bare(s))),
        "asked for as another algorithm": lambda s: (
            "rsa-sha2-512", blob, signed(key, s, user, algorithm="rsa-sha2-512")),
        "asked for as a certificate": lambda s: (
            "ssh-ed25519-cert-v01@openssh.com", blob,
            signed(key, s, user, algorithm="ssh-ed25519-cert-v01@openssh.com")),
        "true": lambda s: (kind, blob, signed(key, s, user)),
    }
    got = {}
    for name, case in cases.items():
        transport, answers = before(ask)
        algorithm, offered, proof = case(transport.session_id)
        first = outcome(transport, answers, request(ask, "publickey", True, algorithm, offered, proof))
        then = outcome(transport, answers, request(ask, "keyboard-interactive", "", "")) if first != "success" else ""
        got[name] = [first, then]
        transport.close()
    return got


def offered(ask):
    """Offers the key of another, claims it with a signature of the own, then proves the own; says what came of each,
    and who that is."""
    key = paramiko.Ed25519Key.from_private_key_file(ask["key"])
    other = paramiko.Ed25519Key.from_private_key_file(ask["other"])
    user, kind = ask["user"], "ssh-ed25519"
    transport, answers = before(ask)
    session = transport.session_id
    of_other = signed(key, session, user, blob=other.asbytes())
    got = [
        outcome(transport, answers, request(ask, "publickey", False, kind, other.asbytes())),
        outcome(transport, answers, request(ask, "keyboard-interactive", "", "")),
        outcome(transport, answers, request(ask, "publickey", False, kind, other.asbytes())),
        outcome(transport, answers, request(ask, "publickey", True, kind, other.asbytes(), of_other)),
        outcome(transport, answers, request(ask, "publickey", False, kind, key.asbytes())),
        outcome(transport, answers, request(ask, "publickey", False, kind, other.asbytes())),
        outcome(transport, answers, request(ask, "publickey", True, kind, key.asbytes(), signed(key, session, user))),
    ]
    who = said(transport, "whoami --json").decode() if got[-1] == "success" else ""
    transport.close()
    return {"got": got, "said": who}


def steps(ask):
    """Signs in step by step, each under the name that it gives; says what came of each. `wait` waits for a line."""
    key = paramiko.Ed25519Key.from_private_key_file(ask["key"])
    transport, answers = before(ask)
    got = []
    for step, user in ask["steps"]:
        asked = {**ask, "user": user}
        if step == "wait":
            sys.stdin.readline()
            continue
        if step == "answer":
            message = Message()
            message.add_byte(bytes([61]))
            message.add_int(0)
        elif step == "prove":
            proof = signed(key, transport.session_id, user)
            message = request(asked, "publickey", True, "ssh-ed25519", key.asbytes(), proof)
        elif step == "offer":
            message = request(asked, "publickey", False, "ssh-ed25519", key.asbytes())
        else:
            fields = {"none": (), "password": (False, "any"), "keyboard-interactive": ("", "")}[step]
            message = request(asked, step, *fields)
        got.append(outcome(transport, answers, message))
    transport.close()
    return got


def offers(ask):
    """Offers new keys without proving any, until the connection is closed."""
    transport, answers = before(ask)
    got = []
    for _ in range(ask["count"]):
        blob = Message()
        blob.add_string("ssh-ed25519")
        blob.add_string(os.urandom(32))
        got.append(say(transport, answers, request(ask, "publickey", False, "ssh-ed25519", blob.asbytes())))
        if got[-1] == "closed":
            break
    transport.close()
    return got


def out_of_place(ask, number):
    message = Message()
    message.add_byte(bytes([number]))
    message.add_bytes(bytes.fromhex(ask["rest"]))
    return message


def early(ask):
    """Sends messages that have no place before authentication; says for each what came back until the next answer. A
    connection serves until it is closed."""
    got, transport = {}, None
    for number in ask["numbers"]:
        if transport is None:
            transport, answers = before(ask)
        came = []
        try:
            transport._send_message(out_of_place(ask, number))
            # What is certainly answered, by a failure, behind what may be ignored.
            came.append(say(transport, answers, request(ask, "none")))
        except (OSError, EOFError):
            came.append("closed")
        while not answers.got.empty():
            came.append(answers.got.get()[0])
        got[number] = came
        # Before the failures are too many.
        if "closed" in came or len(got) % 40 == 0:
            transport.close()
            transport = None
    if transport:
        transport.close()
    return got


def until_answered(transport):
    """The numbers of what comes until a global request is answered or the connection ends."""
    came = []
    while True:
        kind = transport.packetizer.heard.get(timeout=WAIT)
        if kind is None:
            return "closed", came
        if kind in (81, 82):
            return "answered", came
        came.append(kind)


class Hears(paramiko.packet.Packetizer):
    """Keeps the number of each message that comes; None for the end."""

    def __init__(self, socket):
        super().__init__(socket)
        self.heard = queue.Queue()

    def read_message(self):
        try:
            kind, packet = super().read_message()
        except BaseException:
            self.heard.put(None)
            raise
        self.heard.put(kind)
        return kind, packet


def late(ask):
    """Sends messages that have no place after authentication; says for each the numbers of what came back until a
    request behind it was answered or the connection ended. A connection serves until then."""
    paramiko.transport.Packetizer = Hears
    got, transport = {}, None
    last = Message()
    last.add_byte(paramiko.common.cMSG_GLOBAL_REQUEST)
    last.add_string("nobody-knows@example.test")
    last.add_boolean(True)
    for number in ask["numbers"]:
        if transport is None:
            transport = sign_in(ask)
            # One that is answered behind the sign-in: what came with that is not looked at.
            transport._send_message(last)
            until_answered(transport)
        try:
            transport._send_message(out_of_place(ask, number))
            transport._send_message(last)
        except (OSError, EOFError):
            pass
        end, came = until_answered(transport)
        got[number] = {"end": end, "got": came}
        if end == "closed":
            transport.close()
            transport = None
    if transport:
        transport.close()
    return got


def proven(ask, transport):
    transport.auth_timeout = WAIT
    transport.auth_publickey(ask["user"], paramiko.Ed25519Key.from_private_key_file(ask["key"]))
    return transport


def sign_in(ask):
    return proven(ask, start(ask))


def sign_in_within(ask):
    """Signs in on a connection within one to the console (`ssh -J`), and answers with both."""
    login, _, target = ask["user"].partition("@")
    outer = sign_in({**ask, "user": "console"})
    channel = outer.open_channel("direct-tcpip", (target, 22), ("127.0.0.1", 1), timeout=WAIT)
    inner = paramiko.Transport(channel)
    inner.start_client(timeout=30)
    return outer, proven({**ask, "user": login}, inner)


def session(transport):
    channel = transport.open_session(timeout=WAIT)
    channel.settimeout(WAIT)
    return channel


def said(transport, command):
    """What a command on a channel of its own prints."""
    channel = session(transport)
    channel.exec_command(command)
    return channel.makefile("rb").read()


def stands(transport):
    """Whether the connection still works."""
    try:
        return said(transport, "echo in") == b"in\n"
    except (paramiko.SSHException, OSError, EOFError):
        return False


def requests(ask):
    """Each channel request on a channel of its own: was it answered, and how?"""
    transport = sign_in(ask)
    answers = {}
    for kind, rest in ask["requests"]:
        channel = transport.open_session(timeout=WAIT)
        message = Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string(kind)
        message.add_boolean(True)
        message.add_bytes(bytes.fromhex(rest))
        channel._event_pending()
        transport._send_user_message(message)
        answered = channel.event.wait(WAIT)
        answers[kind] = "unanswered" if not answered else "granted" if channel.event_ready else "refused"
        channel.close()
        if not transport.is_active():
            answers[kind] += ", connection closed"
            transport = sign_in(ask)
    transport.close()
    return answers


def globals_(ask):
    """Each global request: was it answered, and how?"""
    transport = sign_in(ask)
    answers = {}
    for kind, rest in ask["requests"]:
        transport.completion_event = None
        message = Message()
        message.add_byte(paramiko.common.cMSG_GLOBAL_REQUEST)
        message.add_string(kind)
        message.add_boolean(True)
        message.add_bytes(bytes.fromhex(rest))
        transport.completion_event = threading.Event()
        transport._send_user_message(message)
        answered = transport.completion_event.wait(WAIT)
        granted = transport.global_response is not None
        answers[kind] = "unanswered" if not answered else "granted" if granted else "refused"
    transport.close()
    return answers


def opens(ask):
    """Each kind of channel: was it opened?"""
    transport = sign_in(ask)
    answers = {}
    for kind, rest in ask["requests"]:
        try:
            transport.open_channel(kind, timeout=WAIT, **({"dest_addr": ("127.0.0.1", ask["to_port"]),
                                                          "src_addr": ("127.0.0.1", 1)} if "tcpip" in kind else
                                                         {"src_addr": ("127.0.0.1", 1)} if kind == "x11" else {}))
            answers[kind] = "granted"
        except paramiko.ChannelException as error:
            answers[kind] = f"refused {error.code}"
        except paramiko.SSHException as error:
            answers[kind] = f"unanswered ({error})"
    transport.close()
    return answers


def twice(ask):
    """A second exec on a channel, a pty after the start: refused, and the first goes on."""
    transport = sign_in(ask)
    answers = {}
    for kind in ["exec", "shell", "pty-req", "env"]:
        channel = transport.open_session(timeout=WAIT)
        channel.exec_command("cat")
        message = Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string(kind)
        message.add_boolean(True)
        if kind == "exec":
            message.add_string("id")
        elif kind == "pty-req":
            message.add_string("xterm")
            for size in (80, 24, 0, 0):
                message.add_int(size)
            message.add_string(b"\0")
        elif kind == "env":
            message.add_string("LANG")
            message.add_string("C")
        channel._event_pending()
        transport._send_user_message(message)
        channel.event.wait(WAIT)
        answers[kind] = "granted" if channel.event_ready else "refused"
        channel.close()
    transport.close()
    return answers


def run(ask):
    """paramiko as a client: commands with their outputs and statuses."""
    transport = sign_in(ask)
    answers = []
    for command in ask["commands"]:
        channel = session(transport)
        channel.exec_command(command)
        channel.sendall(ask.get("input", "").encode("latin-1"))
        channel.shutdown_write()
        out = channel.makefile("rb").read()
        err = channel.makefile_stderr("rb").read()
        answers.append({"status": channel.recv_exit_status(), "stdout": out.decode("latin-1"),
                        "stderr": err.decode("latin-1")})
    transport.close()
    return answers


def leaves(ask):
    """Sends input, its end and a close in one go; the connection stays until another command has run."""
    transport = sign_in(ask)
    channel = session(transport)
    channel.exec_command(ask["command"])
    channel.sendall(ask["text"].encode() * ask["times"])
    channel.shutdown_write()
    channel.close()
    out = said(transport, "echo in").decode()
    transport.close()
    return {"stdout": out}


def vanishes(ask):
    """Runs a command, prints its first line, and says no more: by a reset, by the end of its own side, or as somebody
    kills it. Stays until its input ends."""
    transport = sign_in(ask)
    channel = session(transport)
    channel.exec_command(ask["command"])
    line = channel.makefile("rb").readline().decode()
    if ask["how"] == "reset":
        reset(transport, channel)
    elif ask["how"] == "half-closed":
        transport.sock.shutdown(socket.SHUT_WR)
    print(line, end="", flush=True)
    sys.stdin.read()
    os._exit(0)


def names(ask):
    """Tries user names, with nothing folded or checked here; says for each what came of `echo in`."""
    answers = []
    for user in ask["users"]:
        transport = start(ask)
        transport.auth_timeout = WAIT
        try:
            left = transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(ask["key"]))
            if left:
                answers.append({"refused": f"asks for {left}"})
                continue
            channel = session(transport)
            channel.exec_command("echo in")
            out, err = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
            answers.append({"status": channel.recv_exit_status(), "stdout": out.decode(), "stderr": err.decode()})
        except (paramiko.SSHException, OSError, EOFError) as error:
            answers.append({"refused": f"{type(error).__name__}: {error}"})
        finally:
            transport.close()
    return answers


def interactive(ask):
    """Signs in with keyboard-interactive after the key; prints the instructions on standard error."""
    # The default transport asks for the authentication service again for each method, which not every server answers.
    transport = paramiko.ServiceRequestingTransport(socket.create_connection(("127.0.0.1", ask["port"]), 30))
    transport.start_client(timeout=30)
    left = transport.auth_publickey(ask["user"], paramiko.Ed25519Key.from_private_key_file(ask["key"]))

    def answer(title, instructions, prompts):
        if instructions or title:
            print(title, instructions, file=sys.stderr, flush=True)
        return ["" for _ in prompts]

    prompts = []
    if left:
        transport.auth_timeout = WAIT
        transport.auth_interactive(ask["user"], lambda t, i, p: prompts.append(len(p)) or answer(t, i, p))
    out = said(transport, ask["commands"][0]).decode("latin-1")
    transport.close()
    return {"left": left, "prompts": prompts, "stdout": out}


def signal(transport, channel):
    """Every signal of RFC 4254, and one that is none."""
    for name in ["TERM", "HUP", "USR1", "PIPE", "NOPE", "INT", "KILL"]:
        message = channel_request(channel, "signal")
        message.add_string(name)
        transport._send_user_message(message)


def resize(transport, channel):
    """Window sizes that are none, and many."""
    for n in range(60):
        message = channel_request(channel, "window-change")
        for size in ([0, 0], [2**32 - 1, 2**32 - 1], [80 + n, 24])[n % 3] + [0, 0]:
            message.add_int(size)
        transport._send_user_message(message)


def channel_request(channel, kind):
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(False)
    return message


def windows(transport, channel):
    """Flow control that is none: nothing, one byte, more than there is."""
    for n in [0] * 50 + [1] * 50 + [2**31, 2**32 - 1, 2**32 - 1]:
        message = Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_WINDOW_ADJUST)
        message.add_int(channel.remote_chanid)
        message.add_int(n)
        transport._send_user_message(message)


def rekey(transport, channel):
    """As often as one may."""
    for _ in range(2):
        time.sleep(1.1)
        transport.renegotiate_keys()


def rekey_often(transport, channel):
    """More often: the connection ends."""
    try:
        for _ in range(100):
            transport.renegotiate_keys()
    except (paramiko.SSHException, OSError, EOFError):
        pass


def opened(ask, window, packet):
    """A channel whose window and packets are as large as is said, be it senseless."""
    transport = sign_in(ask)
    transport._sanitize_window_size = transport._sanitize_packet_size = lambda size: 2**15 if size is None else size
    channel = transport.open_session(window_size=window, max_packet_size=packet, timeout=WAIT)
    channel.settimeout(WAIT)
    return transport, channel


def grant(transport, channel, n):
    message = Message()
    message.add_byte(paramiko.common.cMSG_CHANNEL_WINDOW_ADJUST)
    message.add_int(channel.remote_chanid)
    message.add_int(n)
    transport._send_user_message(message)


def unbounded(transport, channel, count, bytes_):
    """Data as if there were no window, until it is all sent or the connection ends."""
    for _ in range(count):
        message = Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_DATA)
        message.add_int(channel.remote_chanid)
        message.add_string(bytes_)
        transport._send_user_message(message)


def misflow(ask):
    """Flow control that is none, each kind on a connection of its own; says what was read, and whether the connection
    stood. The last channel, which has no window, is held until a line comes."""
    def run(window, packet, command, does=lambda *_: None):
        transport, read = None, b""
        try:
            transport, channel = opened(ask, window, packet)
            channel.exec_command(command)
            does(transport, channel)
            read = channel.makefile("rb").read()
        except (paramiko.SSHException, OSError, EOFError):
            pass
        if transport is None:
            # Not even the channel was opened.
            return {"read": 0, "stood": False}
        stood = stands(transport)
        transport.close()
        return {"read": len(read), "stood": stood}

    million = "head -c 1000000 /dev/zero"
    answers = {
        "the largest": run(2**32 - 1, 2**32 - 1, million),
        "small packets": run(2**20, 9, "head -c 10000 /dev/zero"),
        "a byte at a time": run(0, 2**15, "head -c 100 /dev/zero", lambda t, c: [grant(t, c, 1) for _ in range(100)]),
        "no packets": run(2**20, 0, million),
        "too much window": run(2**20, 2**15, million, lambda t, c: [grant(t, c, 2**32 - 1) for _ in range(3)]),
        "no bytes": run(2**20, 2**15, "echo; head -c 7", lambda t, c: (
            unbounded(t, c, 5000, b""), c.sendall(b"x" * 7))),
        "ours ignored": run(2**20, 2**15, "sleep 1000", lambda t, c: unbounded(t, c, 4096, bytes(2**15))),
    }
    transport, channel = opened(ask, 0, 2**15)
    channel.exec_command("cat /dev/zero")
    print(json.dumps(answers), flush=True)
    sys.stdin.readline()
    transport.close()


def disconnect(transport, channel):
    message = Message()
    message.add_byte(paramiko.common.cMSG_DISCONNECT)
    message.add_int(11)
    message.add_string("bye")
    message.add_string("")
    transport._send_message(message)


def reset(transport, channel):
    transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    # Whoever reads holds a reference: only this sends it now.
    transport.sock.shutdown(socket.SHUT_RD)
    transport.sock.close()


def ends_input(transport, channel):
    channel.shutdown_write()


def closes(transport, channel):
    channel.close()


def drip(ask):
    """Comes as far as `stage` says, then sends messages that mean nothing for as long as the connection is open.

    Says what was shown since, and what the end said.
    """
    texts, said = [], []
    if ask["stage"] == "code":
        transport = paramiko.ServiceRequestingTransport(socket.create_connection(("127.0.0.1", ask["port"]), 30))
        transport.start_client(timeout=30)
        transport.auth_timeout = WAIT
        transport.auth_publickey(ask["user"], paramiko.Ed25519Key.from_private_key_file(ask["key"]))
        shown = threading.Event()

        def answer(title, text, prompts):
            texts.append(f"{title}{text}")
            shown.set()
            return []

        def wait():
            try:
                transport.auth_interactive(ask["user"], answer)
            except (paramiko.SSHException, OSError, EOFError):
                pass

        threading.Thread(target=wait, daemon=True).start()
        assert shown.wait(WAIT), "no code was shown"
    else:
        transport, _ = before(ask)
    # RFC 4253, section 11.1: a reason's number and its description.
    transport._parse_disconnect = lambda message: said.append([message.get_int(), message.get_text()][1])
    sent, until = 0, time.monotonic() + WAIT
    while transport.is_active() and time.monotonic() < until:
        try:
            transport.send_ignore(16)
        except (paramiko.SSHException, OSError, EOFError):
            break
        sent += 1
        time.sleep(0.02)
    # Its thread reads what came last.
    transport.join(WAIT)
    return {"sent": sent, "open": transport.is_active(), "texts": texts, "said": said}


def flood(ask):
    """Signed in, sends a message very often; then says whether the connection still works."""
    transport = sign_in(ask)
    channel = session(transport)
    if ask["message"] == "window-change":
        channel.get_pty()
        channel.exec_command("cat")
    elif ask["message"] == "signal":
        channel.exec_command("trap '' USR1; cat")

    def message(n):
        kind = ask["message"]
        message = Message()
        if kind in ("ignore", "debug"):
            message.add_byte(paramiko.common.cMSG_IGNORE if kind == "ignore" else paramiko.common.cMSG_DEBUG)
            if kind == "debug":
                message.add_boolean(True)
            message.add_string("x" * 64)
            if kind == "debug":
                message.add_string("")
        elif kind == "global":
            message.add_byte(paramiko.common.cMSG_GLOBAL_REQUEST)
            message.add_string(["keepalive@openssh.com", "tcpip-forward", "nonsense@example.test"][n % 3])
            message.add_boolean(n % 2 == 0)
            if n % 3 == 1:
                message.add_string("0.0.0.0")
                message.add_int(8000 + n % 1000)
        elif kind == "open":
            message.add_byte(paramiko.common.cMSG_CHANNEL_OPEN)
            message.add_string("x11")
            for number in (1_000_000 + n, 65536, 32768):
                message.add_int(number)
            message.add_string("127.0.0.1")
            message.add_int(6000)
        else:
            message = channel_request(channel, kind)
            if kind == "env":
                message.add_string(f"LC_{n}")
                message.add_string("C")
            elif kind == "window-change":
                for size in (80 + n % 100, 24, 0, 0):
                    message.add_int(size)
            elif kind == "signal":
                message.add_string("USR1")
        return message

    works = False
    try:
        for n in range(ask["count"]):
            transport._send_user_message(message(n))
        works = stands(transport)
    except (paramiko.SSHException, OSError, EOFError):
        pass
    transport.close()
    return {"works": works}


def connections(ask):
    """Opens connections from other addresses of this machine until it is ended: some stay, some say a little."""
    held, first = [], True
    for n in range(10**9):
        try:
            source = ("127.0.0.%d" % (2 + n % 3), 0)
            one = socket.create_connection(("127.0.0.1", ask["port"]), 30, source_address=source)
            one.sendall([b"", b"SSH-2.0-flood\r\n", b"GET / HTTP/1.1\r\n\r\n", os.urandom(64)][n % 4])
            held.append(one)
        except OSError:
            pass
        if len(held) > 150:
            held.pop(0).close()
            if first:
                first = False
                print(json.dumps({"held": len(held)}), flush=True)


def failing(ask):
    """Exchanges keys and fails to sign in, again and again on new connections, until it is ended."""
    for n in range(10**9):
        try:
            failures({**ask, "method": "password", "count": 20})
        except (paramiko.SSHException, OSError, EOFError):
            pass
        if n == 0:
            print(json.dumps({"failing": True}), flush=True)


def rekeys(ask):
    """Signed in, on a connection within such a one, or neither, exchanges keys `count` times, `pause` seconds apart; says
    how often that went, and whether the connection, and the one that it is within, is open at the end."""
    outer = None
    if ask["stage"] == "within":
        outer, transport = sign_in_within(ask)
    else:
        transport = sign_in(ask) if ask["stage"] == "signed in" else before(ask)[0]
    done = 0
    try:
        for _ in range(ask["count"]):
            time.sleep(ask["pause"])
            transport.renegotiate_keys()
            done += 1
    except (paramiko.SSHException, OSError, EOFError):
        pass
    answer = {"done": done, "open": transport.is_active()}
    transport.close()
    if outer:
        answer["outer"] = outer.is_active()
        outer.close()
    return answer


def rekeying(ask):
    """Exchanges keys without a pause on many connections at once, signed in or not, and on new ones for those that are
    closed, until it is ended."""
    closed = queue.Queue()
    # What it takes is not the server's: a stranger has a machine of their own.
    os.nice(19)

    def forever(stage):
        while True:
            try:
                closed.put(rekeys({**ask, "stage": stage, "count": 10**9, "pause": 0}))
            except (paramiko.SSHException, OSError, EOFError, AssertionError):
                pass

    for n in range(ask["connections"]):
        stage = ["signed in", "before"][n % 2]
        threading.Thread(target=forever, args=(stage,), daemon=True).start()
    for n in range(10**9):
        closed.get()
        if n == ask["connections"]:
            print(json.dumps({"rekeying": True}), flush=True)


def alike(ask):
    """Asks the same of kinds that nobody shall tell apart, in turn: keys and users that are known and not, before sign-in;
    targets and logins behind it. Answers with what came, and how many seconds it took, for each question and kind."""
    known = paramiko.Ed25519Key.from_private_key_file(ask["key"]).asbytes()
    answers = {"offer": {}, "proof": {}, "command": {}}

    def asked(question, kind, act):
        since = time.monotonic()
        answer = act()
        answers[question].setdefault(kind, []).append([answer, time.monotonic() - since])

    for n in range(ask["rounds"] * len(ask["users"])):
        user = ask["users"][n % len(ask["users"])]
        transport, got = before(ask)
        # A first one of each is not like the others.
        for m in range(-2, 20):
            name, blob = [("known", known), ("unknown", None)][m % 2]
            offer = Message()
            offer.add_string("ssh-ed25519")
            offer.add_string(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
            offer = blob or offer.asbytes()
            # Each connection may fail six times.
            if m < 16:
                message = request({**ask, "user": user}, "publickey", False, "ssh-ed25519", offer)
                question = "offer"
            else:
                signature = Message()
                signature.add_string("ssh-ed25519")
                signature.add_string(b"\x01" * 64)
                message = request({**ask, "user": user}, "publickey", True, "ssh-ed25519", offer, signature.asbytes())
                question = "proof"
            if m < 0:
                say(transport, got, message)
            else:
                asked(question, f"{name} key, {user}", lambda: say(transport, got, message))
        transport.close()
    for n in range(ask["rounds"] * len(ask["forbidden"])):
        user = ask["forbidden"][n % len(ask["forbidden"])]
        transport = sign_in({**ask, "user": user})
        channel = session(transport)

        def command():
            channel.exec_command("echo in")
            out, err = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
            return [channel.recv_exit_status(), out.decode(), err.decode().replace(user, "USER")]

        asked("command", user, command)
        transport.close()
    return answers


GAMES = {"signal": signal, "resize": resize, "windows": windows, "rekey": rekey, "rekey-often": rekey_often, "disconnect": disconnect,
         "reset": reset, "eof": ends_input, "close": closes, "nothing": lambda *_: None}


def held(ask):
    """Runs commands until each is told that its output is held, then plays a game and leaves. Answers with every byte
    that was in a packet, whichever channel it was for, and with whether the connection stood at the end."""
    answers = {}
    for game in ask["games"]:
        transport = sign_in(ask)
        packets, read = [], transport.packetizer.read_message

        def keep(packets=packets, read=read):
            kind, message = read()
            packets.append(message.asbytes())
            return kind, message

        transport.packetizer.read_message = keep
        channel = session(transport)
        channel.exec_command(ask["command"])
        told = b""
        while b" show H-" not in told and b"bastion: " not in told.rpartition(b"\n")[0]:
            more = channel.recv_stderr(4096)
            if not more:
                break
            told += more
        GAMES[game](transport, channel)
        # Whatever the game made the server do is done once it has answered this.
        stood = stands(transport)
        transport.close()
        transport.join(WAIT)
        answers[game] = {"said": told.decode("latin-1"), "got": b"".join(packets).decode("latin-1"), "stood": stood}
    return answers


ask = json.loads(sys.argv[1])
does = {"failures": failures, "bad_signatures": bad_signatures, "offers": offers, "early": early, "late": late,
        "false_proofs": false_proofs, "misflow": misflow, "offered": offered, "steps": steps,
        "requests": requests, "globals": globals_, "opens": opens, "twice": twice, "run": run,
        "interactive": interactive, "names": names, "leaves": leaves, "held": held, "drip": drip, "flood": flood,
        "connections": connections, "failing": failing,
        "rekeys": rekeys, "rekeying": rekeying, "alike": alike, "vanishes": vanishes}
answer = does[ask["do"]](ask)
if answer is not None:
    print(json.dumps(answer))
