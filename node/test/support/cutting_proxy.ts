// A connection that breaks: a proxy on the loopback that cuts, once, when what the client sends has a text.
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class CuttingProxy {
  cuts = 0;
  private cutting: { text: string; delivered: boolean } | undefined;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  static async to(port: number): Promise<CuttingProxy> {
    const server = createServer();
    const proxy = new CuttingProxy(server);
    server.on('connection', (client) => proxy.serve(client, connect(port, '127.0.0.1')));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The next time; what has the text is delivered or not, and the answer is lost. */
  cutAt(text: string, delivered: boolean): void {
    this.cutting = { text, delivered };
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private serve(client: Socket, upstream: Socket): void {
    let cut = false;
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      this.sockets.add(socket);
      socket.on('error', end);
      socket.on('close', () => {
        this.sockets.delete(socket);
        end();
      });
    }
    client.on('data', (bytes) => {
      if (this.cutting === undefined || !bytes.includes(this.cutting.text)) {
        upstream.write(bytes);
        return;
      }
      const { delivered } = this.cutting;
      this.cutting = undefined;
      this.cuts++;
      cut = true;
      if (delivered) upstream.write(bytes);
      else end();
    });
    // The server has done it, and says so; nobody hears.
    upstream.on('data', (bytes) => {
      if (cut) end();
      else client.write(bytes);
    });
  }
}
