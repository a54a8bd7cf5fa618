// Uncompressed zip archives, to upload folders to the server.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});
const UTF8 = 1 << 11; // names are UTF-8

/** Return a zip archive as a Blob from [{name, file}]. */
export async function zipped(entries) {
  const parts = [], directory = [];
  let offset = 0;
  for (const { name, file } of entries) {
    const bytes = new Uint8Array(await file.arrayBuffer()), path = new TextEncoder().encode(name);
    const common = [20, UTF8, 0, 0, 0x21];
    const sizes = [crc(bytes), bytes.length, bytes.length];
    const local = words([[4, 0x04034b50], ...common.map((v) => [2, v]), ...sizes.map((v) => [4, v]), [2, path.length], [2, 0]]);
    directory.push(words([[4, 0x02014b50], [2, 20], ...common.map((v) => [2, v]), ...sizes.map((v) => [4, v]),
      [2, path.length], [2, 0], [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), path);
    parts.push(local, path, bytes);
    offset += local.length + path.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = entries.length;
  const end = words([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]]);
  return new Blob([...parts, ...directory, end]);
}

/** Return the bytes of [size in bytes, number] pairs, little-endian. */
function words(numbers) {
  return Uint8Array.from(numbers.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, k) => (value >>> (8 * k)) & 255)));
}

function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}
