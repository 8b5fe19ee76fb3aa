// npm's etcd3 (grpc-js): `node npm_etcd3_scenario.cjs HOST PORT`, with NODE_PATH at the folder that has it.
const { Etcd3 } = require("etcd3");

const address = `${process.argv[2]}:${process.argv[3]}`;
const seen = {};
const note = (step, value) => { seen[step] = value === undefined ? null : value; };
const attempt = async (step, promise) => {
  try { note(step, (await promise) === null ? null : "done"); } catch (error) { note(step, [error.constructor.name, error.message]); }
};

async function keys(client) {
  note("put", (await client.put("key").value("1")).header.revision);
  note("put with previous", (await client.put("key").value("2").getPrevious()).value.toString());
  note("get", await client.get("key").string());
  note("get nothing", await client.get("none").string());
  const kv = (await client.get("key").exec()).kvs[0];
  note("get with metadata", [kv.create_revision, kv.mod_revision, kv.version, kv.lease]);
  for (let index = 0; index < 5; index++) await client.put(`many/${index}`).value(`${9 - index}`);
  note("prefix", await client.getAll().prefix("many/").strings());
  note("sorted", await client.getAll().prefix("many/").sort("Value", "Descend").limit(2).keys());
  note("counted", await client.getAll().prefix("many/").count());
  note("delete", [(await client.delete().key("many/0")).deleted, (await client.delete().prefix("many/")).deleted]);
}

async function transactions(client) {
  const won = await client.if("key", "Value", "==", "2").and("none", "Create", "==", 0)
    .then(client.put("key").value("3"), client.get("key")).else(client.get("key")).commit();
  note("transaction", [won.succeeded, won.responses.length, won.responses[1].response_range.kvs[0].value.toString()]);
  const lost = await client.if("key", "Version", "==", 0).then(client.put("key").value("4")).else(client.get("key")).commit();
  note("transaction refused", [lost.succeeded, lost.responses[0].response_range.kvs[0].value.toString()]);
  await attempt("duplicate keys", client.if("key", "Version", ">", 0).then(client.put("a").value("1"), client.put("a").value("2")).commit());
  const sum = await client.stm().transact(async (tx) => {
    const value = Number(await tx.get("key").string());
    await tx.put("key").value(`${value + 1}`);
    return value + 1;
  });
  note("software transaction", [sum, await client.get("key").string()]);
}

async function watches(client) {
  const watcher = await client.watch().key("watched").withPreviousKV().create();
  const events = [];
  const enough = new Promise((resolve) => {
    const take = (kind) => (kv, previous) => {
      events.push([kind, kv.key.toString(), kv.value.toString(), previous ? previous.value.toString() : null]);
      if (events.length === 3) resolve();
    };
    watcher.on("put", take("put"));
    watcher.on("delete", take("delete"));
  });
  await client.put("watched").value("1");
  const { header } = await client.put("watched").value("2");
  await client.delete().key("watched");
  await enough;
  note("watch", events);
  await watcher.cancel();
  const past = await client.watch().prefix("wat").startRevision(header.revision).create();
  note("watch from the past", await new Promise((resolve) => past.once("put", (kv) => resolve(kv.value.toString()))));
  await past.cancel();
}

async function leasesAndLocks(client) {
  const lease = client.lease(100);
  await lease.put("leased").value("1");
  const info = await client.leaseClient.leaseTimeToLive({ ID: await lease.grant(), keys: true });
  note("lease", [info.grantedTTL, info.keys.map(String)]);
  await lease.keepaliveOnce();
  await lease.revoke();
  note("leased key is gone", await client.get("leased").string());
  await attempt("unknown lease", client.put("leased").value("1").lease(12345));
  await client.lock("door").ttl(20).do(async () => {
    await attempt("locked", client.lock("door").ttl(20).acquire());
  });
  const lock = await client.lock("door").ttl(20).acquire();
  await lock.release();
  note("unlocked", true);
  const election = client.election("leaders", 20);
  const campaign = election.campaign("me");
  await new Promise((resolve) => campaign.on("elected", resolve));
  note("elected", await election.leader());
  await campaign.resign();
}

async function users(client) {
  const role = client.role("reader");
  await role.create();
  await role.grant({ permission: "Read", range: client.range ? client.range({ prefix: "key" }) : { key: Buffer.from("key"), range_end: Buffer.from("kez") } });
  await client.user("root").create("secret");
  await client.user("anna").create("hidden");
  await client.user("anna").addRole("reader");
  await client.role("root").create();
  await client.user("root").addRole("root");
  note("users", [(await client.getUsers()).map((one) => one.name).sort(), (await client.getRoles()).map((one) => one.name).sort()]);
  await client.auth.authEnable();
  const anna = new Etcd3({ hosts: address, auth: { username: "anna", password: "hidden" } });
  note("anna reads", await anna.get("key").string());
  await attempt("anna writes", anna.put("key").value("5"));
  anna.close();
  await attempt("nobody reads", client.get("key").string());
  const wrong = new Etcd3({ hosts: address, auth: { username: "anna", password: "wrong" } });
  await attempt("a wrong password", wrong.get("key").string());
  wrong.close();
  const root = new Etcd3({ hosts: address, auth: { username: "root", password: "secret" } });
  await root.auth.authDisable();
  root.close();
}

async function upkeep(client) {
  note("members", (await client.cluster.memberList({})).members.map((one) => [one.name, one.clientURLs]));
  const status = await client.maintenance.status();
  note("status", [status.version.split(".")[0], Number(status.dbSize) > 0]);
  note("hash", (await client.maintenance.hash()).hash !== 0);
  await client.maintenance.defragment();
  let bytes = 0;
  const snapshot = await client.maintenance.snapshot();
  await new Promise((resolve, reject) => snapshot.on("data", (piece) => { bytes += piece.blob.length; }).on("end", resolve).on("error", reject));
  note("snapshot", [bytes % 512, bytes > 4096]);
  await client.kv.compact({ revision: 3, physical: true });
  await attempt("compacted", client.get("key").revision(2).string());
}

async function main() {
  const client = new Etcd3({ hosts: address });
  for (const part of [keys, transactions, watches, leasesAndLocks, users, upkeep]) await part(client);
  client.close();
  console.log(JSON.stringify(seen));
}

main().catch((error) => { console.error(error); process.exit(1); });
