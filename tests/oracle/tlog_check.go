// Checks an export and proofs of the service with golang.org/x/mod/sumdb (Debian's golang-golang-x-mod-dev): its note reader, its
// tile reader and its proof checker, none of it ours. Only ECDSA verification and tile paths are written here, for that package knows
// Ed25519 and another path.
//
//	tlog_check FOLDER VKEY_FILE LOG [PROOF_FILE]
//
// Prints "verified ..." and ends with 0, or one line and ends with 3.
package main

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type ecdsaVerifier struct {
	name string
	hash uint32
	key  *ecdsa.PublicKey
}

func (v ecdsaVerifier) Name() string    { return v.name }
func (v ecdsaVerifier) KeyHash() uint32 { return v.hash }
func (v ecdsaVerifier) Verify(msg, sig []byte) bool {
	digest := sha256.Sum256(msg)
	return ecdsa.VerifyASN1(v.key, digest[:], sig)
}

func fail(what string, args ...interface{}) {
	fmt.Printf("BAD "+what+"\n", args...)
	os.Exit(3)
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func verifierOf(vkey string) note.Verifier {
	parts := strings.SplitN(strings.TrimSpace(vkey), "+", 3)
	if len(parts) != 3 {
		fail("vkey: not NAME+ID+KEY")
	}
	id, err := strconv.ParseUint(parts[1], 16, 32)
	must(err, "vkey")
	material, err := base64.StdEncoding.DecodeString(parts[2])
	must(err, "vkey")
	key, err := x509.ParsePKIXPublicKey(material[1:])
	must(err, "vkey")
	return ecdsaVerifier{parts[0], uint32(id), key.(*ecdsa.PublicKey)}
}

func treeOf(text string) tlog.Tree {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		fail("checkpoint: not three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err, "checkpoint")
	hash, err := tlog.ParseHash(lines[2])
	must(err, "checkpoint")
	return tlog.Tree{N: size, Hash: hash}
}

// The tiles of an export, by C2SP's paths.
type folder struct{ path string }

func (f folder) Height() int { return 8 }
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		path := fmt.Sprintf("%03d", t.N%1000)
		for n := t.N / 1000; n > 0; n /= 1000 {
			path = fmt.Sprintf("x%03d/%s", n%1000, path)
		}
		if t.W < 256 {
			path += fmt.Sprintf(".p/%d", t.W)
		}
		data, err := os.ReadFile(filepath.Join(f.path, "tile", strconv.Itoa(t.L), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func entriesOf(path string, size int64) [][]byte {
	var entries [][]byte
	for first := int64(0); first < size; first += 256 {
		width := size - first
		name := fmt.Sprintf("%03d", first/256%1000)
		for n := first / 256 / 1000; n > 0; n /= 1000 {
			name = fmt.Sprintf("x%03d/%s", n%1000, name)
		}
		if width < 256 {
			name += fmt.Sprintf(".p/%d", width)
		}
		data, err := os.ReadFile(filepath.Join(path, "tile/entries", name))
		must(err, "entries")
		for len(data) >= 2 {
			length := int(binary.BigEndian.Uint16(data))
			if len(data) < 2+length {
				fail("entries: cut off")
			}
			entries = append(entries, data[2:2+length])
			data = data[2+length:]
		}
	}
	return entries
}

func main() {
	if len(os.Args) < 4 {
		fail("usage: tlog_check FOLDER VKEY_FILE LOG [PROOF_FILE]")
	}
	vkey, err := os.ReadFile(os.Args[2])
	must(err, "vkey")
	verifiers := note.VerifierList(verifierOf(string(vkey)))
	path := filepath.Join(os.Args[1], os.Args[3])
	signed, err := os.ReadFile(filepath.Join(path, "checkpoint"))
	must(err, "checkpoint")
	opened, err := note.Open(signed, verifiers)
	must(err, "checkpoint")
	tree := treeOf(opened.Text)

	// Every leaf's hash, read through the tiles up to the signed root, is its entry's.
	entries := entriesOf(path, tree.N)
	if int64(len(entries)) != tree.N {
		fail("entries: %d, the tree has %d", len(entries), tree.N)
	}
	indexes := make([]int64, tree.N)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, int64(i))
	}
	hashes, err := tlog.TileHashReader(tree, folder{path}).ReadHashes(indexes)
	must(err, "tiles")
	for i, entry := range entries {
		if tlog.RecordHash(entry) != hashes[i] {
			fail("entry %d does not fit its hash", i)
		}
	}
	if len(os.Args) > 4 {
		proof, err := os.ReadFile(os.Args[4])
		must(err, "proof")
		head, signedNote, _ := strings.Cut(string(proof), "\n\n")
		opened, err := note.Open([]byte(signedNote), verifiers)
		must(err, "proof")
		tree := treeOf(opened.Text)
		lines := strings.Split(head, "\n")
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
		must(err, "proof")
		var steps tlog.RecordProof
		for _, line := range lines[2:] {
			hash, err := tlog.ParseHash(line)
			must(err, "proof")
			steps = append(steps, hash)
		}
		must(tlog.CheckRecord(steps, tree.N, tree.Hash, index, tlog.RecordHash(entries[index])), "proof")
	}
	fmt.Printf("verified %d entries of %s\n", tree.N, os.Args[3])
}
