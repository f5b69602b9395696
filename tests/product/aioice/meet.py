"""Two ICE agents of aioice that may use nothing but relayed candidates: they meet through a TURN server and send each other messages.

meet.py HOST PORT USERNAME PASSWORD (udp|tcp|tls)
"""

import asyncio
import ssl
import sys

from aioice import Connection, TransportPolicy

MESSAGES = 50


def agent(is_controlling, host, port, username, password, transport):
    tls = False
    if transport == "tls":
        # The server's certificate is its own.
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return Connection(
        ice_controlling=is_controlling,
        turn_server=(host, int(port)),
        turn_username=username,
        turn_password=password,
        turn_ssl=tls,
        turn_transport="udp" if transport == "udp" else "tcp",
        transport_policy=TransportPolicy.RELAY,
        use_ipv6=False,
    )


async def introduce(agent, other):
    for candidate in other.local_candidates:
        await agent.add_remote_candidate(candidate)
    await agent.add_remote_candidate(None)
    agent.remote_username = other.local_username
    agent.remote_password = other.local_password


async def main(*arguments):
    agents = [agent(is_controlling, *arguments) for is_controlling in (True, False)]
    await asyncio.gather(*(each.gather_candidates() for each in agents))
    for each, other in (agents, agents[::-1]):
        kinds = {candidate.type for candidate in each.local_candidates}
        assert kinds == {"relay"}, f"candidates of kinds {kinds}"
        await introduce(each, other)
    await asyncio.gather(*(each.connect() for each in agents))
    for number in range(MESSAGES):
        # Of all lengths modulo four: on a stream they are padded.
        message = bytes([number]) * (20 * number + number % 4 + 1)
        for sender, receiver in (agents, agents[::-1]):
            await sender.sendto(message, 1)
            came = await receiver.recv()
            assert came == message, f"message {number}: {len(came)} bytes"
    await asyncio.gather(*(each.close() for each in agents))
    print(f"{MESSAGES} messages each way")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
