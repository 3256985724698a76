# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

import asyncio, socket
async def server(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper()); await writer.drain()
    writer.close()
async def client(port, n):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"hello {n}\n".encode()); writer.write_eof()
    answer = await reader.read()
    writer.close(); await writer.wait_closed()
    return answer
async def main():
    s = await asyncio.start_server(server, "127.0.0.1", 0)
    port = s.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(client(port, n) for n in range(5))))
    s.close(); await s.wait_closed()
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.02)
    except asyncio.TimeoutError:
        print("late")
    p = await asyncio.create_subprocess_exec("sort", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print((await p.communicate(b"b\na\n"))[0], p.returncode)
    print(await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2, 3]))
    a, b = socket.socketpair(); a.setblocking(False); b.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(a, b"x")
    print(await asyncio.get_running_loop().sock_recv(b, 10)); a.close(); b.close()
asyncio.run(main())
