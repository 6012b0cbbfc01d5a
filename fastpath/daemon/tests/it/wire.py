"""The other side of a cable: frames in, frames out, and scapy's IPsec layer to open and to make ESP.

Reads Python expressions, one a line, writes what they are worth as JSON, one a line.
"""
import json
import socket
import struct
import sys
import threading
import time

from scapy.config import conf

conf.verb = 0
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402,F401
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: E402,F401
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.ipsec import ESP, SecurityAssociation  # noqa: E402
from scapy.packet import raw  # noqa: E402

link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
link.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel has taken VLAN tags out of the frames
link.bind((sys.argv[1], 3))
frames = []
OUTGOING = 4
VLAN_VALID = 0x10


def listen():
    while True:
        frame, extra, _, where = link.recvmsg(65535, 64)
        for _, _, data in extra:
            status, _, _, _, _, tag, _ = struct.unpack("IIIHHHH", data[:20])
            if status & VLAN_VALID:
                frame = frame[:12] + struct.pack("!HH", 0x8100, tag) + frame[12:]
        if where[2] != OUTGOING:
            frames.append(frame)


threading.Thread(target=listen, daemon=True).start()
sas = {}


def send(all_hex, gap=0.0):
    """Frames as hex."""
    for frame in all_hex:
        link.send(bytes.fromhex(frame))
        if gap:
            time.sleep(gap)
    return len(all_hex)


def kind(frame):
    """(IP version, protocol, IP packet without link padding), None for what is no IP."""
    if frame[12:14] == b"\x08\x00":
        packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
        return 4, packet[9], packet
    if frame[12:14] == b"\x86\xdd":
        packet = frame[14 : 54 + int.from_bytes(frame[18:20], "big")]
        return 6, packet[6], packet
    return None


def is_esp(frame):
    found = kind(frame)
    if not found:
        return False
    version, protocol, packet = found
    head = 20 if version == 4 else 40
    return protocol == 50 or protocol == 17 and packet[head : head + 2] == b"\x11\x94"


def to_port(port):
    def matches(frame):
        found = kind(frame)
        if not found or found[1] != 17:
            return False
        head = 20 if found[0] == 4 else 40
        return int.from_bytes(found[2][head + 2 : head + 4], "big") == port

    return matches


def tagged(tag, inner):
    """Frames of a VLAN whose payload, as scapy sees it, fits."""

    def matches(frame):
        head = frame[12:16]
        return head == struct.pack("!HH", 0x8100, tag) and inner(Ether(frame[:12] + frame[16:]))

    return matches


def collect_frames(wanted, count, seconds):
    """Frames that fit, at most `seconds` until there are `count`; taken out of the list."""
    end = time.monotonic() + seconds
    while True:
        seen = list(frames)
        fitting = [f for f in seen if wanted(f)]
        if len(fitting) >= count or time.monotonic() >= end:
            del frames[: len(seen)]
            return [f.hex() for f in fitting]
        time.sleep(0.01)


def wait_for(wanted, seconds):
    """Until one has come; it stays in the list."""
    end = time.monotonic() + seconds
    while not any(wanted(f) for f in list(frames)):
        if time.monotonic() >= end:
            raise TimeoutError(len(frames))
        time.sleep(0.005)
    return 0


def is_from(port):
    def matches(frame):
        found = kind(frame)
        return bool(found) and found[:2] == (4, 17) and found[2][20:22] == struct.pack("!H", port)

    return matches


def collect(wanted, count, seconds):
    """The same, IP packets alone."""
    return [kind(bytes.fromhex(f))[2].hex() for f in collect_frames(wanted, count, seconds)]


def clear():
    frames.clear()
    return 0


def sa(name, spi, crypt, key, auth, auth_key, src, dst, ports, esn):
    header = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
    sas[name] = SecurityAssociation(
        ESP,
        spi=spi,
        crypt_algo=crypt,
        crypt_key=bytes.fromhex(key),
        auth_algo=auth,
        auth_key=bytes.fromhex(auth_key) if auth_key else None,
        tunnel_header=header,
        nat_t_header=UDP(sport=ports[0], dport=ports[1]) if ports else None,
        esn_en=esn,
    )
    return 0


def parse(packet):
    packet = bytes.fromhex(packet)
    return IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)


def open_all(pairs):
    """[(SA, packet)] to inner packets, or what scapy has against them."""
    opened = []
    for name, packet in pairs:
        try:
            opened.append(raw(sas[name].decrypt(parse(packet))).hex())
        except Exception as error:  # noqa: BLE001
            opened.append("error: %r" % error)
    return opened


def seal_all(rows):
    """[(SA, inner packet, number)] to outer packets."""
    return [seal(sas[name], parse(inner), seq).hex() for name, inner, seq in rows]


def seal(sa, inner, seq):
    outer = raw(sa.encrypt(inner, seq_num=seq & 0xFFFFFFFF, esn=seq >> 32))
    if sa.nat_t_header and outer[0] >> 4 == 4:
        # scapy 2.5 computes the UDP length of IPv4 before it adds what is in the datagram.
        outer = outer[:24] + struct.pack("!H", len(outer) - 20) + outer[26:]
    return outer


print("ready", flush=True)
for line in sys.stdin:
    try:
        print(json.dumps({"is": eval(line)}), flush=True)  # noqa: S307
    except Exception as error:  # noqa: BLE001
        print(json.dumps({"error": "%s: %r" % (line.strip()[:200], error)}), flush=True)
