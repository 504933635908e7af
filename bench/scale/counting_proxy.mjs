// In front of PostgreSQL: counts what goes to and fro. A round trip is a question that was begun after an answer.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class CountingProxy {
  counted = { connections: 0, round_trips: 0, bytes_to: 0, bytes_from: 0 };

  static async start(port) {
    const proxy = new CountingProxy();
    proxy.server = createServer({ noDelay: true }, (client) => proxy.#carry(client, port)).listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  #carry(client, port) {
    const server = connect({ port, host: '127.0.0.1', noDelay: true });
    const { counted } = this;
    counted.connections++;
    let answered = true;
    client.on('data', (bytes) => {
      if (answered) counted.round_trips++;
      answered = false;
      counted.bytes_to += bytes.length;
      server.write(bytes);
    });
    server.on('data', (bytes) => {
      answered = true;
      counted.bytes_from += bytes.length;
      client.write(bytes);
    });
    const end = () => {
      if (!client.destroyed) counted.connections--;
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on('close', end).on('error', end);
  }

  /** Since the last time; connections are those that are open. */
  take() {
    const taken = { ...this.counted };
    Object.assign(this.counted, { round_trips: 0, bytes_to: 0, bytes_from: 0 });
    return taken;
  }

  stop() {
    this.server.close();
  }
}
