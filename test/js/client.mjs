// An unchanged @aws-sdk/client-mailmanager, driven by lines of JSON on standard
// input: {"operation", "input", "credentials", "endpoint"} in, {"output"} or
// {"error", "message", "status"} out. PROTOCOL is json or cbor.
import { createInterface } from "node:readline";
import * as sdk from "@aws-sdk/client-mailmanager";
import { AwsJson1_0Protocol } from "@aws-sdk/core/protocols";
import { SmithyRpcV2CborProtocol } from "@smithy/core/cbor";

const protocol = { json: AwsJson1_0Protocol, cbor: SmithyRpcV2CborProtocol }[process.env.PROTOCOL];
const clients = new Map();

function client(endpoint, credentials) {
  const key = endpoint + credentials.accessKeyId + credentials.secretAccessKey;
  if (!clients.has(key)) {
    clients.set(key, new sdk.MailManagerClient({ endpoint, credentials, protocol, region: "us-east-1", maxAttempts: 1 }));
  }
  return clients.get(key);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, input, credentials, endpoint } = JSON.parse(line);
  let answer;
  try {
    const { $metadata, ...output } = await client(endpoint, credentials).send(new sdk[operation + "Command"](input));
    answer = { output };
  } catch (e) {
    answer = { error: e.name, message: e.message, status: e.$metadata?.httpStatusCode ?? 0 };
  }
  console.log(JSON.stringify(answer));
}
