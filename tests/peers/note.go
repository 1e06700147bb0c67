// Checks a log of a bastion with Go's own packages: the signature of the checkpoint with
// golang.org/x/mod/sumdb/note, and its root, from the entries, with golang.org/x/mod/sumdb/tlog.
//
//	note FOLDER-OF-THE-LOG
//
// It prints the number of leaves, and ends with status 1 where anything does not hold.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var read []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(h)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		read = append(read, h[index])
	}
	return read, nil
}

func check(folder string) (int64, error) {
	key, err := os.ReadFile(filepath.Join(folder, "vkey"))
	if err != nil {
		return 0, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return 0, err
	}
	message, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return 0, err
	}
	opened, err := note.Open(message, note.VerifierList(verifier))
	if err != nil {
		return 0, err
	}
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		return 0, fmt.Errorf("origin %q", lines[0])
	}
	var size int64
	if _, err := fmt.Sscan(lines[1], &size); err != nil {
		return 0, err
	}
	// A forged size must not verify.
	forged := strings.Replace(string(message), "\n"+lines[1]+"\n", "\n"+lines[1]+"0\n", 1)
	if _, err := note.Open([]byte(forged), note.VerifierList(verifier)); err == nil {
		return 0, fmt.Errorf("a forged size verifies")
	}
	var stored hashes
	for n := int64(0); n < size; {
		bundle := filepath.Join(folder, "tile", "entries", fmt.Sprintf("%03d", n/256))
		if width := size - n; width < 256 {
			bundle += fmt.Sprintf(".p/%d", width)
		}
		data, err := os.ReadFile(bundle)
		if err != nil {
			return 0, err
		}
		for ; len(data) > 0; n++ {
			length := int(binary.BigEndian.Uint16(data))
			more, err := tlog.StoredHashes(n, data[2:2+length], stored)
			if err != nil {
				return 0, err
			}
			stored = append(stored, more...)
			data = data[2+length:]
		}
	}
	root, err := tlog.TreeHash(size, stored)
	if err != nil {
		return 0, err
	}
	if base64.StdEncoding.EncodeToString(root[:]) != lines[2] {
		return 0, fmt.Errorf("the root is %v", root)
	}
	return size, nil
}

func main() {
	size, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(size)
}
