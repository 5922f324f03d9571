#!/usr/bin/env bash
# What only a GPU can show, in one run of about half an hour: ./dev gpu-check. The tests of device cuda, recorded cases of the
# originals, results against those recorded on the emulated device, compute-sanitizer, benchmarks; and a report for an issue.
#   gpu_check.sh look   whether it can run here: 0, 3 without a GPU, 4 without nvcc
#   gpu_check.sh run    all of it, of build/cuda as it is; 1 where a step failed
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
build=build/cuda
logs=build/gpu-check

look() {
  local why
  if ! command -v nvidia-smi >/dev/null; then
    why="nvidia-smi is not there, so no NVIDIA driver is"
  elif ! nvidia-smi -L 2>/dev/null | grep -q '^GPU '; then
    why="nvidia-smi lists none: $(nvidia-smi -L 2>&1 | head -1)"
  elif ! command -v nvcc >/dev/null && [ ! -x "${CUDA_PATH:-/usr/local/cuda}/bin/nvcc" ]; then
    echo "gpu-check: there is a GPU, but no nvcc to build for it: install a CUDA toolkit, or set CUDA_PATH" >&2
    return 4
  else
    return 0
  fi
  echo "gpu-check: there is no GPU here, nothing was built or run ($why)." >&2
  echo "gpu-check: ./dev cuda runs the same kernels on the emulated device." >&2
  return 3
}

lines=()
failed=0
# step NAME SECONDS COMMAND...: into its log, with a time limit; goes on whatever happens.
step() {
  local name=$1 limit=$2 status=0 start=$SECONDS verdict=ok
  shift 2
  timeout --kill-after=30 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
  case $status in
    0) ;;
    124 | 137) verdict="more than $limit s" ;;
    *) verdict="FAILED ($status)" ;;
  esac
  [ $status = 0 ] || failed=1
  lines+=("| $name | $verdict | $((SECONDS - start)) |")
  printf '%-24s %s, %d s\n' "$name" "$verdict" $((SECONDS - start))
}
skip() {
  lines+=("| $1 | not run: $2 | |")
  printf '%-24s not run: %s\n' "$1" "$2"
}

sanitizer() {
  local found
  found=$(command -v compute-sanitizer) || found=${CUDA_PATH:-/usr/local/cuda}/bin/compute-sanitizer
  [ -x "$found" ] && printf '%s' "$found"
}

report() {
  echo "### gpu-check: $([ $failed = 0 ] && echo 'all steps passed' || echo 'a step failed')"
  echo
  echo "- commit: $(git describe --always --dirty 2>/dev/null || echo unknown)"
  echo "- GPU: $(nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv,noheader | tr '\n' ';')"
  echo "- $("$build/tools/graft" info 2>&1 | grep -E '^(cuda|cuBLAS|cuDNN)' | tr '\n' ';')"
  echo
  echo "| step | result | s |"
  echo "|---|---|---|"
  printf '%s\n' "${lines[@]}"
  local log
  for log in "$logs"/*.log; do
    grep -qE "^\| $(basename "$log" .log) \| (FAILED|more)" <(printf '%s\n' "${lines[@]}") || continue
    printf '\n<details><summary>%s, last lines</summary>\n\n```\n' "$(basename "$log")"
    tail -40 "$log"
    printf '```\n</details>\n'
  done
  if [ -s "$logs/benchmarks.log" ]; then
    printf '\n<details><summary>benchmarks: medians</summary>\n\n```\n'
    grep -vE '_(mean|stddev|cv) ' "$logs/benchmarks.log"
    printf '```\n</details>\n'
  fi
}

run() {
  look || return $?
  mkdir -p "$logs"
  rm -f "$logs"/*.log
  local kind tool program checker cases=tests/data/conformance
  step tests 1200 ctest --test-dir "$build" -L '^cuda$' --output-on-failure --no-tests=error
  # Own kernels until here; now cuBLAS and cuDNN are asked first, where they are installed.
  step op_cases_with_vendor 600 env --chdir=tests GRAFT_TEST_VENDOR=1 "$PWD/$build/tests/cuda_op_cases_test" --gtest_brief=1
  for kind in ops modules optim surgery; do
    step "conformance_$kind" 900 "$build/tools/graft_conformance" "$kind" "$cases/$kind.json" --device cuda --floor "$cases/floor.json"
  done
  step emulated_results 300 "$build/benchmarks/cuda" --smoke --compare tests/data/cuda/results.safetensors
  if checker=$(sanitizer); then
    for tool in memcheck racecheck initcheck synccheck; do
      for program in cuda_fused_test cuda_attention_test cuda_index_test cuda_pool_test; do
        step "${tool}_${program%_test}" 600 env --chdir=tests "$checker" --tool "$tool" --error-exitcode 9 "../$build/tests/$program" --gtest_brief=1
      done
    done
  else
    skip compute-sanitizer "it is not installed"
  fi
  step benchmarks 1200 "$build/benchmarks/cuda" --benchmark_out="$logs/benchmarks.json" --benchmark_out_format=json
  report >"$logs/report.md"
  echo
  cat "$logs/report.md"
  echo
  echo "gpu-check: $logs/report.md can be pasted into an issue; logs are beside it"
  return $failed
}

case ${1:-} in
  look) look ;;
  run) run ;;
  *)
    echo "usage: gpu_check.sh look|run" >&2
    exit 2
    ;;
esac
