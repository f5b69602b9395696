/** An authority of our own for certificates, and a home directory for browsers that trust it. Needs openssl and certutil (libnss3-tools). */

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export class Authority {
  static async create() {
    const authority = new Authority();
    authority.home = await mkdtemp(join(tmpdir(), 'housecall-ca-'));
    const at = (name) => join(authority.home, name);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    await run('openssl', ['req', '-x509', ...key, '-days', '2', '-subj', '/CN=Housecall test authority', '-keyout', at('ca.key'), '-out', at('ca.pem')]);
    const base = at('.pki/nssdb');
    await mkdir(base, { recursive: true });
    await run('certutil', ['-N', '-d', `sql:${base}`, '--empty-password']);
    await run('certutil', ['-A', '-d', `sql:${base}`, '-n', 'ca', '-t', 'C,,', '-i', at('ca.pem')]);
    return authority;
  }

  /** Its own certificate, as a file. */
  get root() {
    return join(this.home, 'ca.pem');
  }

  /** A certificate for these names ("DNS:…", "IP:…"), as `{ cert, key }` in files called after `label`. */
  async issue(label, ...names) {
    const at = (name) => join(this.home, name);
    const [cert, key, request, extensions] = [`${label}.pem`, `${label}.key`, `${label}.csr`, `${label}.ext`].map(at);
    await writeFile(extensions, `subjectAltName = ${names.join(', ')}\nextendedKeyUsage = serverAuth\n`);
    await run('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${label}`, '-keyout', key, '-out', request]);
    await run('openssl', ['x509', '-req', '-in', request, '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '1', '-extfile', extensions, '-out', cert]);
    return { cert, key };
  }

  async remove() {
    // Processes of a browser whose home this was may go after it, and write until then.
    await rm(this.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
