package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"sigs.k8s.io/secrets-store-csi-driver/pkg/util/fileutil"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

const (
	region         = "eu-west-1"
	audience       = "sts.amazonaws.com"
	namespace      = "shop"
	serviceAccount = "web"
	podName        = "web-1"
	// kubelet's limit for one call of a CSI driver, which the driver passes on.
	callTimeout = 2 * time.Minute
	// The default of the driver's --max-call-recv-msg-size.
	maxAnswerBytes = 4 * 1024 * 1024
	// The most that AWS keeps in one secret.
	maxSecretBytes = 64 * 1024
	// The mode that the driver sends for files whose class names none.
	filePermission os.FileMode = 0o644
	// The driver's ServiceConfig; the package that it stands in needs a whole controller.
	serviceConfig = `{"methodConfig": [{
		"name": [{"service": "v1alpha1.CSIDriverProvider"}],
		"waitForReady": true,
		"retryPolicy": {"MaxAttempts": 3, "InitialBackoff": "1s", "MaxBackoff": "10s", "BackoffMultiplier": 1.1,
			"RetryableStatusCodes": ["UNAVAILABLE"]}
	}]}`
)

type provider = v1alpha1.CSIDriverProviderClient

// A node with a pod, the cloud it lives in, and the provider in both of its ways.
type world struct {
	providerWrites, driverWrites provider

	directory string

	aws     string
	podUID  string
	tokens  string
	kubelet string
	volumes []string
	// fileLayout of the class where the provider writes, empty for the default.
	layout string
}

// Reads what ./run has put into its directory, and gets a token for the pod as kubelet does.
func newWorld(directory string) (*world, error) {
	var places struct {
		AWS        string `json:"aws_url"`
		Kubernetes string `json:"kubernetes_url"`
	}
	text, err := os.ReadFile(filepath.Join(directory, "places.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &places); err != nil {
		return nil, err
	}
	w := &world{directory: directory, aws: places.AWS, kubelet: filepath.Join(directory, "kubelet")}
	if w.providerWrites, err = dial(filepath.Join(directory, "provider-writes/aws.sock")); err != nil {
		return nil, err
	}
	if w.driverWrites, err = dial(filepath.Join(directory, "driver-writes/aws.sock")); err != nil {
		return nil, err
	}

	objects := places.Kubernetes + "/api/v1/namespaces/" + namespace
	var pod struct{ Metadata struct{ UID string } }
	if err := ask(http.MethodGet, objects+"/pods/"+podName, nil, &pod); err != nil {
		return nil, err
	}
	w.podUID = pod.Metadata.UID
	wanted, err := json.Marshal(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{
			"audiences": []string{audience}, "expirationSeconds": 3600,
			"boundObjectRef": map[string]string{"apiVersion": "v1", "kind": "Pod", "name": podName, "uid": w.podUID},
		},
	})
	if err != nil {
		return nil, err
	}
	var request struct{ Status json.RawMessage }
	if err := ask(http.MethodPost, objects+"/serviceaccounts/"+serviceAccount+"/token", wanted, &request); err != nil {
		return nil, err
	}
	tokens, err := json.Marshal(map[string]json.RawMessage{audience: request.Status})
	w.tokens = string(tokens)
	return w, err
}

// Dials as pkg/secrets-store/provider_client.go does.
func dial(socket string) (provider, error) {
	connection, err := grpc.NewClient("unix:"+socket,
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
		grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
	)
	if err != nil {
		return nil, err
	}
	return v1alpha1.NewCSIDriverProviderClient(connection), nil
}

func call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callTimeout)
}

// Asks for a mount with what the driver sends, in the spelling of its encoder.
func (w *world) mount(provider provider, target, objects string) (*v1alpha1.MountResponse, error) {
	layout := w.layout
	if provider == w.driverWrites {
		layout = ""
	}
	attributes, err := json.Marshal(map[string]string{
		"fileLayout":      layout,
		"objects":         objects,
		"region":          region,
		"pathTranslation": "False",

		"secretProviderClass":                      "shop-db",
		"csi.storage.k8s.io/ephemeral":             "true",
		"csi.storage.k8s.io/pod.name":              podName,
		"csi.storage.k8s.io/pod.namespace":         namespace,
		"csi.storage.k8s.io/pod.uid":               w.podUID,
		"csi.storage.k8s.io/serviceAccount.name":   serviceAccount,
		"csi.storage.k8s.io/serviceAccount.tokens": w.tokens,
	})
	if err != nil {
		return nil, err
	}
	permission, err := json.Marshal(filePermission)
	if err != nil {
		return nil, err
	}
	ctx, cancel := call()
	defer cancel()
	return provider.Mount(ctx, &v1alpha1.MountRequest{
		Attributes: string(attributes),
		Secrets:    "null",
		TargetPath: target,
		Permission: string(permission),
	})
}

// Asks for a mount and writes what is answered, as the driver's MountContent does.
func (w *world) driverMount(target, objects string) error {
	answer, err := w.mount(w.driverWrites, target, objects)
	if err != nil {
		return err
	}
	if len(answer.GetFiles()) == 0 || answer.GetObjectVersion() == nil {
		return errors.New("no files or no versions are answered")
	}
	return fileutil.WritePayloads(target, answer.GetFiles())
}

// Mounts a new volume for the pod, as the driver does before it calls the provider.
func (w *world) publish() (string, error) {
	name := fmt.Sprintf("secrets-%d", len(w.volumes))
	target := filepath.Join(w.kubelet, "pods", w.podUID, "volumes/kubernetes.io~csi", name, "mount")
	if err := os.MkdirAll(target, 0o750); err != nil {
		return "", err
	}
	w.volumes = append(w.volumes, target)
	return target, os.NewSyscallError("mount", syscall.Mount("tmpfs", target, "tmpfs", 0, ""))
}

// Mounts a new volume and lets the provider write objects into it.
func (w *world) published(objects string) (string, *v1alpha1.MountResponse, error) {
	target, err := w.publish()
	if err != nil {
		return "", nil, err
	}
	answer, err := w.mount(w.providerWrites, target, objects)
	return target, answer, err
}

// Unmounts all volumes that are still mounted.
func (w *world) unpublish() error {
	var failures error
	for _, target := range w.volumes {
		if err := syscall.Unmount(target, 0); err != nil && err != syscall.EINVAL {
			failures = errors.Join(failures, fmt.Errorf("umount %s: %w", target, err))
		}
	}
	return failures
}

// Asks for as many files of a secret of the greatest size, without a volume.
func (w *world) big(count int) (*v1alpha1.MountResponse, error) {
	if err := w.put("shop/big", strings.Repeat("x", maxSecretBytes)); err != nil {
		return nil, err
	}
	var objects strings.Builder
	for number := range count {
		fmt.Fprintf(&objects, "- {objectName: shop/big, objectType: secretsmanager, objectAlias: big-%d}\n", number)
	}
	target, err := w.publish()
	if err != nil {
		return nil, err
	}
	return w.mount(w.driverWrites, target, objects.String())
}

// Puts the current value of a secret.
func (w *world) put(name, value string) error {
	place := w.aws + "/_devcloud/secrets/" + region + "?name=" + url.QueryEscape(name)
	return ask(http.MethodPut, place, []byte(value), nil)
}

func ask(method, place string, body []byte, answer any) error {
	request, err := http.NewRequest(method, place, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, place, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}
