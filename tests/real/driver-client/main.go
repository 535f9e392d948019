// Talks to the provider as the Secrets Store CSI driver does, with the driver's own code wherever that can be imported: its
// generated client, its writer of volumes and its lister. It is started by ./run, which says where everything is.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/secrets-store-csi-driver/pkg/util/fileutil"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

// A class with a JSON secret in three files. Every writer can write it: the official provider 3.1.1 makes no directories.
const flatClass = `
- objectName: shop/db
  objectType: secretsmanager
  objectAlias: db.json
  jmesPath:
    - {path: username, objectAlias: user}
    - {path: password, objectAlias: password, filePermission: "0400"}
`

// The same, and a binary secret in a directory.
const class = flatClass + `
- {objectName: shop/key, objectType: secretsmanager, objectAlias: tls/key.pem, filePermission: "0440"}
`

// A class that has dropped a file and a directory of the other.
const smallerClass = "- {objectName: shop/db, objectType: secretsmanager, objectAlias: db.json}"

// A little more than the provider keeps the set before.
const graceOfSets = 1100 * time.Millisecond

// The passwords in shop/db, before and after a rotation.
const (
	first  = "first"
	second = "second"
)

func database(password string) string {
	return fmt.Sprintf(`{"username": "alice", "password": %q}`, password)
}

// The files of class while shop/db has this password.
func classFiles(password string) files {
	return files{
		"db.json":     {database(password), 0o644},
		"user":        {"alice", 0o644},
		"password":    {password, 0o400},
		"tls/key.pem": {"\x00\x9f\x92\x96", 0o440},
	}
}

func smallerClassFiles(password string) files {
	return files{"db.json": {database(password), 0o644}}
}

var checks = []struct {
	name string
	run  func(*world) error
}{
	{"the provider says who it is", identity},
	{"provider writes: versions are answered without files, and the files are in the volume", providerWrites},
	{"provider writes: a remount without a change leaves the files alone", remount},
	{"provider writes: a rotation is seen, and what the class has dropped is gone", rotation},
	{"provider writes: the volume unmounts at once", unmount},
	{"driver writes: the files are answered, and nothing is in the volume", driverWrites},
	{"driver writes: the driver's writer takes them, and its lister finds them", driversWriter},
	{"driver writes: an answer of almost 4 MiB arrives", largeAnswer},
	{"driver writes: a larger one is refused by the provider, with a final code", tooLargeAnswer},
	{"a misspelt key is NotFound, says so, and leaves the volume as it was", misspeltKey},
	{"take-over: what the driver's writer wrote becomes the provider's, without a gap for readers", takeOver},
	{"take-over: what the provider wrote becomes the driver's and the provider's again, likewise", handBack},
	{"take-over: what the driver's writer wrote becomes plain files of the provider, and links again, likewise", takeOverPlain},
	{"take-over: whoever wrote a volume before, whoever writes it next", matrix},
	{"the provider behind the socket changes, also to one that behaves as the official one: no mount fails", switches},
	{"the socket is removed, replaced and fought over: no mount fails", war},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "start this with ./run")
		os.Exit(2)
	}
	w, err := newWorld(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	failed := 0
	for _, check := range checks {
		err := w.put("shop/db", database(first))
		if err == nil {
			err = errors.Join(check.run(w), w.unpublish())
		}
		if err == nil {
			fmt.Println("ok  ", check.name)
		} else {
			failed++
			fmt.Printf("FAIL %s\n     %s\n", check.name, strings.ReplaceAll(err.Error(), "\n", "\n     "))
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(checks)-failed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func identity(w *world) error {
	semver := regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	for _, provider := range []provider{w.providerWrites, w.driverWrites} {
		ctx, cancel := call()
		defer cancel()
		answer, err := provider.Version(ctx, &v1alpha1.VersionRequest{Version: "v1alpha1"})
		if err != nil {
			return err
		}
		known := answer.GetVersion() == "v1alpha1" && answer.GetRuntimeName() == "secretmount"
		if !known || !semver.MatchString(answer.GetRuntimeVersion()) {
			return fmt.Errorf("answered %v", answer)
		}
	}
	return nil
}

func providerWrites(w *world) error {
	target, answer, err := w.published(class)
	if err != nil {
		return err
	}
	if len(answer.GetFiles()) != 0 {
		err = fmt.Errorf("%d files are answered", len(answer.GetFiles()))
	}
	return errors.Join(err, versionsOf(answer, classFiles(first)), filesIn(target, classFiles(first)))
}

func remount(w *world) error {
	target, before, err := w.published(class)
	if err != nil {
		return err
	}
	generation, err := os.Readlink(filepath.Join(target, "..data"))
	if err != nil {
		return err
	}
	after, err := w.mount(w.providerWrites, target, class)
	if err != nil {
		return err
	}
	if now, _ := os.Readlink(filepath.Join(target, "..data")); now != generation {
		return fmt.Errorf("..data was %q and is %q", generation, now)
	}
	if !maps.Equal(versions(before), versions(after)) {
		return fmt.Errorf("the versions were %v and are %v", versions(before), versions(after))
	}
	return filesIn(target, classFiles(first))
}

func rotation(w *world) error {
	target, before, err := w.published(class)
	if err != nil {
		return err
	}
	if err := w.put("shop/db", database(second)); err != nil {
		return err
	}
	after, err := w.mount(w.providerWrites, target, class)
	if err != nil {
		return err
	}
	for name, version := range versions(after) {
		if changed := version != versions(before)[name]; changed != (name != "tls/key.pem") {
			err = errors.Join(err, fmt.Errorf("the version of %s: changed is %v", name, changed))
		}
	}
	err = errors.Join(err, filesIn(target, classFiles(second)))
	_, failure := w.mount(w.providerWrites, target, smallerClass)
	return errors.Join(err, failure, filesIn(target, smallerClassFiles(second)))
}

func unmount(w *world) error {
	target, _, err := w.published(class)
	if err != nil {
		return err
	}
	// As the driver does: not lazily, so it fails while the provider has anything open.
	return os.NewSyscallError("umount", syscall.Unmount(target, 0))
}

func driverWrites(w *world) error {
	target, err := w.publish()
	if err != nil {
		return err
	}
	answer, err := w.mount(w.driverWrites, target, class)
	if err != nil {
		return err
	}
	answered := files{}
	for _, each := range answer.GetFiles() {
		answered[each.GetPath()] = file{string(each.GetContents()), os.FileMode(each.GetMode())}
	}
	entries, err := os.ReadDir(target)
	if len(entries) != 0 {
		err = fmt.Errorf("%d names are in the volume", len(entries))
	}
	return errors.Join(err, versionsOf(answer, classFiles(first)), equal(answered, classFiles(first)))
}

func driversWriter(w *world) error {
	target, err := w.publish()
	if err != nil {
		return err
	}
	if err := w.driverMount(target, class); err != nil {
		return err
	}
	return filesIn(target, classFiles(first))
}

func largeAnswer(w *world) error {
	answer, err := w.big(63)
	if err != nil {
		return err
	}
	if count := len(answer.GetFiles()); count != 63 {
		return fmt.Errorf("%d files are answered", count)
	}
	return nil
}

func tooLargeAnswer(w *world) error {
	_, err := w.big(65)
	return refused(err, codes.FailedPrecondition, "ResponseTooLarge: ")
}

func misspeltKey(w *world) error {
	misspelt := strings.Replace(class, "path: password", "path: pasword", 1)
	target, _, err := w.published(class)
	if err != nil {
		return err
	}
	for _, provider := range []provider{w.providerWrites, w.driverWrites} {
		_, failure := w.mount(provider, target, misspelt)
		err = errors.Join(err, refused(failure, codes.NotFound, "JsonKeyNotFound: ", `"pasword"`, `"password"`, "shop/db"))
	}
	return errors.Join(err, filesIn(target, classFiles(first)))
}

func takeOver(w *world) error {
	target, err := w.publish()
	if err != nil {
		return err
	}
	if err := w.driverMount(target, class); err != nil {
		return err
	}
	return w.rotateInto(target)
}

func takeOverPlain(w *world) error {
	w.layout = "files"
	defer func() { w.layout = "" }()
	target, err := w.publish()
	if err != nil {
		return err
	}
	if err := w.driverMount(target, class); err != nil {
		return err
	}
	if err := w.rotateInto(target); err != nil {
		return err
	}
	if meta, err := os.Lstat(filepath.Join(target, "db.json")); err != nil || !meta.Mode().IsRegular() {
		return fmt.Errorf("db.json is no plain file: %v", err)
	}
	if err := w.put("shop/db", database(first)); err != nil {
		return err
	}
	if _, err := w.mount(w.providerWrites, target, class); err != nil {
		return err
	}
	w.layout = ""
	return w.rotateInto(target)
}

func handBack(w *world) error {
	target, _, err := w.published(class)
	if err != nil {
		return err
	}
	if err := w.put("shop/db", database(second)); err != nil {
		return err
	}
	if err := readable(target, func() error { return w.driverMount(target, class) }); err != nil {
		return err
	}
	if err := filesIn(target, classFiles(second)); err != nil {
		return err
	}
	if err := w.driverMount(target, smallerClass); err != nil {
		return err
	}
	if err := filesIn(target, smallerClassFiles(second)); err != nil {
		return err
	}
	if err := w.put("shop/db", database(first)); err != nil {
		return err
	}
	if _, err := w.mount(w.providerWrites, target, class); err != nil {
		return err
	}
	return errors.Join(filesIn(target, classFiles(first)), w.rotateInto(target))
}

// Whether somebody who reads the password over and over while change runs always gets the old one or the new one.
func readable(target string, change func() error) error {
	done := make(chan error)
	go func() { done <- change() }()
	for {
		password, err := os.ReadFile(filepath.Join(target, "password"))
		if text := string(password); err != nil || (text != first && text != second) {
			return errors.Join(fmt.Errorf("a reader got %q, %v", text, err), <-done)
		}
		select {
		case err := <-done:
			return err
		default:
		}
	}
}

// Lets the provider write a rotated class and then a smaller one, and checks that it leaves nothing of anybody behind.
func (w *world) rotateInto(target string) error {
	if err := w.put("shop/db", database(second)); err != nil {
		return err
	}
	err := readable(target, func() error {
		_, err := w.mount(w.providerWrites, target, class)
		return err
	})
	err = errors.Join(err, filesIn(target, classFiles(second)))
	_, failure := w.mount(w.providerWrites, target, smallerClass)
	err = errors.Join(err, failure, filesIn(target, smallerClassFiles(second)))

	// The set before stays for a second; whatever is called next clears it away.
	time.Sleep(graceOfSets)
	if _, failure := w.mount(w.providerWrites, target, smallerClass); failure != nil {
		err = errors.Join(err, failure)
	}
	expected := []string{"..secretmount", "db.json"}
	if w.layout != "files" {
		generation, failure := os.Readlink(filepath.Join(target, "..data"))
		err = errors.Join(err, failure)
		expected = append(expected, "..data", generation)
	}
	entries, unread := os.ReadDir(target)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	slices.Sort(expected)
	if !slices.Equal(names, expected) {
		err = errors.Join(err, fmt.Errorf("in the volume are %q", names))
	}
	return errors.Join(err, unread)
}

// Files by path, as a container sees them.
type files = map[string]file

type file struct {
	content string
	mode    os.FileMode
}

func (f file) String() string {
	return fmt.Sprintf("%q %04o", f.content, f.mode)
}

// Whether the driver's lister finds these files and no other, and whoever reads them by name gets these contents and modes.
func filesIn(target string, expected files) error {
	listed, err := fileutil.GetMountedFiles(target)
	if err != nil {
		return err
	}
	found := files{}
	for name, place := range listed {
		path := filepath.Join(target, name)
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		meta, err := os.Stat(path)
		if err != nil {
			return err
		}
		found[name] = file{string(content), meta.Mode()}
		// The driver's own sync reads the place that its lister names.
		if synced, _ := os.ReadFile(place); string(synced) != string(content) {
			return fmt.Errorf("%s and %s, where the lister found it, differ", path, place)
		}
	}
	return equal(found, expected)
}

func equal(found, expected files) error {
	if !maps.Equal(found, expected) {
		return fmt.Errorf("found    %v\nexpected %v", found, expected)
	}
	return nil
}

// Whether every file has a version, and nothing else has.
func versionsOf(answer *v1alpha1.MountResponse, expected files) error {
	if answer.GetError() != nil {
		return fmt.Errorf("the answer has an error, whose message the driver drops: %v", answer.GetError())
	}
	found := versions(answer)
	if len(found) != len(expected) || len(answer.GetObjectVersion()) != len(expected) {
		return fmt.Errorf("there are the versions %v", found)
	}
	for name := range expected {
		if found[name] == "" {
			return fmt.Errorf("%s has no version in %v", name, found)
		}
	}
	return nil
}

func versions(answer *v1alpha1.MountResponse) map[string]string {
	found := map[string]string{}
	for _, version := range answer.GetObjectVersion() {
		found[version.GetId()] = version.GetVersion()
	}
	return found
}

// Whether an error has this code, starts with the first text and holds the others.
func refused(err error, code codes.Code, start string, texts ...string) error {
	message := status.Convert(err).Message()
	right := status.Code(err) == code && strings.HasPrefix(message, start)
	for _, text := range texts {
		right = right && strings.Contains(message, text)
	}
	if !right {
		return fmt.Errorf("expected %s with %q and %q, got %s: %s", code, start, texts, status.Code(err), message)
	}
	return nil
}
