#!/usr/bin/env bash
# Submits a training run to Kubernetes, as a JobSet of several hosts (jobset.sigs.k8s.io, 0.6 on).
#
#   launch/jobset.sh NAME --image=IMAGE --hosts=16 --resource=google.com/tpu=4 \
#       --select=cloud.google.com/gke-tpu-accelerator=tpu-v5-lite-podslice \
#       --select=cloud.google.com/gke-tpu-topology=8x8 [OPTIONS] -- launch.train \
#       --config=configs/sft.py:8b --workdir=gs://BUCKET/sft --config.model=gs://BUCKET/base \
#       --config.conversations=gs://BUCKET/conversations.jsonl
#
# The image has the package installed. There is one pod a host, with all of its devices. If one is
# lost, all start again and the run goes on from its last checkpoint. A user's mistake, or a gate
# that isn't met, ends the JobSet at once.
#
#   --dry_run         print the manifest, and submit nothing
#   --hosts=N         default: 1
#   --resource=R=N    devices of a host, nvidia.com/gpu=8 or google.com/tpu=4
#   --restarts=N      of all hosts (default: 20)
#   --select=LABEL=V  nodes to take, may be repeated
#   --account=NAME    the Kubernetes service account that may read and write the bucket

# shellcheck source=launch/remote.sh
source "$(dirname "${BASH_SOURCE[0]}")/remote.sh"

IMAGE='' HOSTS=1 RESOURCE='' DRY=false RESTARTS=20 SELECT='' ACCOUNT=default

[[ " $* " != *" --help "* ]] || help
NAME=${1:-}
# Pods are NAME-hosts-0-INDEX, and a name of the network has at most 63 characters.
[[ $NAME =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    mistake "'$NAME' is no name of a JobSet: at most 40 small letters, digits and -"
shift
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    value=${1#*=}
    case $1 in
        --dry_run) DRY=true ;;
        --image=*) IMAGE=$value ;;
        --hosts=*) HOSTS=$value ;;
        --resource=*=*) RESOURCE="${value%=*}: ${value##*=}" ;;
        --restarts=*) RESTARTS=$value ;;
        --select=*=*) SELECT+="${SELECT:+, }${value%%=*}: \"${value#*=}\"" ;;
        --account=*) ACCOUNT=$value ;;
        *) mistake "unknown option $1; --help lists them" ;;
    esac
    shift
done
for number in "$HOSTS" "$RESTARTS"; do
    [[ $number =~ ^[0-9]+$ ]] || mistake "'$number' is no number; --hosts and --restarts are"
done
[ -n "$IMAGE" ] || mistake "--image: name a container image that has the package"
[ -n "$RESOURCE" ] || mistake "--resource: name a host's devices, such as nvidia.com/gpu=8"
read_command "$@"

# Python reads JSON's strings, and so does YAML.
in_json() {
    local argument text=''
    for argument in "$@"; do
        argument=${argument//\\/\\\\}
        argument=${argument//$'\n'/\\n}
        argument=${argument//$'\r'/\\r}
        argument=${argument//$'\t'/\\t}
        text+="${text:+, }\"${argument//\"/\\\"}\""
    done
    echo "[$text]"
}

# Each pod's index among the hosts is its process id; the first one's name is the coordinator's.
manifest() {
    cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $NAME
spec:
  failurePolicy:
    maxRestarts: $RESTARTS
    rules:
      - name: mistake
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: hosts
      replicas: 1
      template:
        spec:
          completions: $HOSTS
          parallelism: $HOSTS
          completionMode: Indexed
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes: {containerName: train, operator: In, values: [2, 3]}
          template:
            spec:
              restartPolicy: Never
              serviceAccountName: $ACCOUNT
              # Longer than a checkpoint takes: SIGTERM lets the run save.
              terminationGracePeriodSeconds: 300
              nodeSelector: {$SELECT}
              containers:
                - name: train
                  image: "$IMAGE"
                  command: $(in_json python -m vcjax.launch.train)
                  args: $(in_json "${TRAIN[@]}")
                  env:
                    - {name: JAX_COORDINATOR_ADDRESS, value: "$NAME-hosts-0-0.$NAME:55527"}
                    - {name: JAX_NUM_PROCESSES, value: "$HOSTS"}
                    - name: JAX_PROCESS_ID
                      valueFrom:
                        fieldRef:
                          fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
                  ports:
                    - containerPort: 55527
                  resources:
                    limits: {$RESOURCE}
                  volumeMounts:
                    - {name: shared-memory, mountPath: /dev/shm}
              volumes:
                - {name: shared-memory, emptyDir: {medium: Memory}}
END
}

if $DRY; then
    manifest
    exit
fi
command -v kubectl >/dev/null || mistake "kubectl: is not installed"
manifest | kubectl apply -f -
echo "kubectl logs --follow --prefix --selector=jobset.sigs.k8s.io/jobset-name=$NAME"
