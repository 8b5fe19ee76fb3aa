// @kubernetes/client-node, as its examples use it: create, list, informer, patch, exec, log, watch.
import * as k8s from '@kubernetes/client-node';
import { PassThrough } from 'node:stream';

const namespace = process.argv[2];
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const assert = (holds, what) => { if (!holds) throw new Error(what); };

const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, () => core.listNamespacedPod({ namespace }));
const running = new Promise((resolve, reject) => {
  const look = (pod) => { if (pod.metadata.name === 'node' && pod.status.phase === 'Running') resolve(); };
  informer.on('add', look);
  informer.on('update', look);
  informer.on('error', (error) => { if (error?.message !== 'aborted') reject(error); });
});
await informer.start();
const command = ['sh', '-c', 'echo hello; exec sleep 600'];
await core.createNamespacedPod({
  namespace,
  body: { metadata: { name: 'node' }, spec: { containers: [{ name: 'c', image: 'x', command }] } },
});
await running;
await informer.stop();
console.log('informer');

const collect = () => { const stream = new PassThrough(); stream.text = ''; stream.on('data', (part) => { stream.text += part; }); return stream; };
const out = collect(), bad = collect();
await new Promise((resolve, reject) => {
  new k8s.Exec(config)
    .exec(namespace, 'node', 'c', ['sh', '-c', 'echo said; exit 3'], out, bad, null, false, (status) => {
      const code = status.details?.causes?.find((cause) => cause.reason === 'ExitCode')?.message;
      code === '3' ? resolve() : reject(new Error(JSON.stringify(status)));
    })
    .catch(reject);
});
assert(out.text === 'said\n', `exec said ${out.text}`);
const log = collect();
await new k8s.Log(config).log(namespace, 'node', 'c', log, { follow: false });
await new Promise((resolve) => log.on('end', resolve));
assert(log.text === 'hello\n', `log said ${log.text}`);
console.log('exec');

const patched = await core.patchNamespacedPod(
  { name: 'node', namespace, body: [{ op: 'add', path: '/metadata/labels', value: { a: 'b' } }] },
  k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
);
assert(patched.metadata.labels.a === 'b', 'not patched');
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const made = await objects.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'node', namespace }, data: { a: 'b' } });
assert((await objects.read(made)).data.a === 'b', 'not read');
await objects.patch({ ...made, data: { c: 'd' } }, undefined, undefined, 'node', undefined, k8s.PatchStrategy.MergePatch);
assert((await core.readNamespacedConfigMap({ name: 'node', namespace })).data.c === 'd', 'not merged');
await new Promise((resolve, reject) => {
  new k8s.Watch(config)
    .watch(`/api/v1/namespaces/${namespace}/configmaps`, {}, (type, object, event) => {
      if (object.metadata.name === 'node') resolve();
    }, (error) => error && error.name !== 'AbortError' && reject(error))
    .then((controller) => setTimeout(() => controller.abort(), 5000).unref());
});
await objects.delete(made);
await core.deleteNamespacedPod({ name: 'node', namespace, gracePeriodSeconds: 0 });
assert((await apps.listNamespacedDeployment({ namespace })).items !== undefined, 'not listed');
console.log('objects');
process.exit(0);
