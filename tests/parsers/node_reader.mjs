// Reads bodies as Node does, for the tests of this folder. Standard input is a sequence of pieces,
// each behind its length in four bytes, big-endian; a line of JSON is written for each.
//   node node_reader.mjs json            pieces are bodies: JSON.parse, of the text that fetch makes
//   node node_reader.mjs form            pieces are content types and bodies by turns: fetch's own
//                                        reader of forms
//   node node_reader.mjs busboy FOLDER   the same, by busboy, which is installed in that folder
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [mode, folder] = process.argv.slice(2);
const input = readFileSync(0);
const pieces = [];
for (let at = 0; at < input.length; ) {
  const start = at + 4;
  at = start + input.readUInt32BE(start - 4);
  pieces.push(input.subarray(start, at));
}
const lines = [];
if (mode === "json") {
  const decoder = new TextDecoder("utf-8");
  for (const body of pieces) lines.push(members(decoder.decode(body)));
} else {
  const read = mode === "busboy" ? withBusboy(createRequire(`${folder}/`)("busboy")) : withFetch;
  for (let index = 0; index < pieces.length; index += 2) {
    let fields = null;
    try {
      fields = await read(pieces[index].toString("latin1"), pieces[index + 1]);
    } catch {
      // Refused.
    }
    lines.push(JSON.stringify(fields));
  }
}
process.stdout.write(lines.map((line) => line + "\n").join(""));

function members(text) {
  try {
    const value = JSON.parse(text);
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    return isObject ? JSON.stringify(value) : "null";
  } catch {
    return "null";
  }
}

// Each field as [name, is it a file, value in base64].
async function withFetch(contentType, body) {
  const form = await new Response(body, { headers: { "content-type": contentType } }).formData();
  const fields = [];
  for (const [name, value] of form) {
    const isFile = typeof value !== "string";
    const bytes = isFile ? await value.arrayBuffer() : value;
    fields.push([name, isFile, Buffer.from(bytes).toString("base64")]);
  }
  return fields;
}

function withBusboy(busboy) {
  return (contentType, body) =>
    new Promise((resolve, reject) => {
      const fields = [];
      const reader = busboy({ headers: { "content-type": contentType } });
      reader.on("field", (name, value) => {
        fields.push([name, false, Buffer.from(value).toString("base64")]);
      });
      reader.on("file", (name, stream) => {
        // Its place is that of its beginning, among fields that are read at once.
        const field = [name, true, ""];
        fields.push(field);
        const chunks = [];
        stream.on("data", (chunk) => chunks.push(chunk));
        stream.on("end", () => (field[2] = Buffer.concat(chunks).toString("base64")));
      });
      reader.on("close", () => resolve(fields));
      reader.on("error", reject);
      reader.end(body);
    });
}
