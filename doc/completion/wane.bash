# bash completion for wane. Made by `wane completion bash`: do not edit.
_wane_files() { # [what to leave out]: files, and folders to go on in
  compopt -o filenames 2>/dev/null
  local IFS=$'\n'
  COMPREPLY=($(compgen -d -- "$cur"))
  if [[ $1 != '*' ]]; then COMPREPLY+=($(compgen -f -X "$1" -- "$cur")); fi
  COMPREPLY=($(printf '%s\n' "${COMPREPLY[@]}" | sort -u))
}
_wane() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= takes= n=0 i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD && ${#verb} == 0; i++)); do
    case ${COMP_WORDS[i]} in
      -*) ;;
      *) verb=${COMP_WORDS[i]} ;;
    esac
  done
  case $verb in # flags with values
    inspect) takes='--key' ;;
    quantize) takes='--calibrate --calibrate-chunks --bpw --bytes --tokens-per-second -i --imatrix --include-weights --exclude-weights --output-tensor-type --token-embedding-type --tensor-type --tensor-type-file --prune-layers --override-kv --fallback --nonfinite --shard --split --reuse -t --threads' ;;
    verify) takes='-i --imatrix -t --threads' ;;
    imatrix) takes='-o --output -c --context --chunks --first-chunk --resume --save-every -t --threads' ;;
    perplexity) takes='-c --context --chunks -t --threads' ;;
    compare) takes='--text -c --context --chunks --tasks -i --imatrix -o --output --tensor -t --threads' ;;
    tasks) takes='--text -c --context -t --threads' ;;
    fit) takes='-c --context --kv --sequences --recipe --ram --reserve --task --params --layers --width --heads --kv-heads --ff --vocab --experts --used -t --threads' ;;
    explain) takes='-i --imatrix' ;;
    generate) takes='-f --file -n --max-tokens --temperature --top-k --top-p --min-p --repeat-penalty --seed --stop --grammar --json-schema --lora --draft --kv -c --context -t --threads' ;;
    chat) takes='-s --system --template --format --tools -n --max-tokens --temperature --top-k --top-p --min-p --repeat-penalty --seed --stop --grammar --json-schema --lora --draft --kv -c --context -t --threads' ;;
    serve) takes='--host -p --port --api-key --alias --parallel --queue -c --context --kv --template --format --report --pooling --timeout -t --threads' ;;
    sweep) takes='--model --text --calibrate -c --context --chunks --calibrate-chunks --per-job --shards --emit --program -o --output -t --threads' ;;
    convert) takes='--type --base -i --imatrix --name' ;;
    tokenize) takes='' ;;
    embed) takes='-f --file --pooling --dimensions -t --threads' ;;
    rank) takes='-f --file -n --top -t --threads' ;;
    merge) takes='--lora' ;;
    split) takes='--size --tensors' ;;
    meta) takes='--set --set-file --remove' ;;
    completion) takes='' ;;
  esac
  for ((; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -*) [[ " $takes " == *" ${COMP_WORDS[i]} "* ]] && ((i++)) ;;
      *) ((n++)) ;;
    esac
  done
  case $verb in
    '') COMPREPLY=($(compgen -W "inspect quantize verify imatrix perplexity compare tasks fit explain generate chat serve sweep convert tokenize embed rank merge split meta completion --version --help" -- "$cur")) ;;
    inspect)
      case $prev in
        --key) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --meta --tensors --key --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
      esac ;;
    quantize)
      case $prev in
        --calibrate) _wane_files; return ;;
        --calibrate-chunks) :; return ;;
        --bpw) :; return ;;
        --bytes) :; return ;;
        --tokens-per-second) :; return ;;
        -i|--imatrix) _wane_files; return ;;
        --include-weights) :; return ;;
        --exclude-weights) :; return ;;
        --output-tensor-type) COMPREPLY=($(compgen -W "f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_K q3_K q4_K q5_K q6_K iq2_xxs iq2_xs iq3_xxs iq1_s iq4_nl iq3_s iq2_s iq4_xs iq1_m tq1_0 tq2_0 mxfp4 nvfp4 q1_0 q2_0" -- "$cur")); return ;;
        --token-embedding-type) COMPREPLY=($(compgen -W "f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_K q3_K q4_K q5_K q6_K iq2_xxs iq2_xs iq3_xxs iq1_s iq4_nl iq3_s iq2_s iq4_xs iq1_m tq1_0 tq2_0 mxfp4 nvfp4 q1_0 q2_0" -- "$cur")); return ;;
        --tensor-type) :; return ;;
        --tensor-type-file) _wane_files; return ;;
        --prune-layers) :; return ;;
        --override-kv) :; return ;;
        --fallback) :; return ;;
        --nonfinite) COMPREPLY=($(compgen -W "error zero" -- "$cur")); return ;;
        --shard) :; return ;;
        --split) :; return ;;
        --reuse) _wane_files; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --calibrate --calibrate-chunks --bpw --bytes --tokens-per-second --imatrix --include-weights --exclude-weights --output-tensor-type --token-embedding-type --tensor-type --tensor-type-file --prune-layers --override-kv --fallback --nonfinite --shard --split --reuse --threads --awq --pure --leave-output-tensor --allow-requantize --keep-split --provenance --overwrite --no-resume --dry-run --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) _wane_files ;;
        2) COMPREPLY=($(compgen -W "AUTO COPY F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE NVFP4 Q1_0 Q2_0" -- "$cur")) ;;
      esac ;;
    verify)
      case $prev in
        -i|--imatrix) _wane_files; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --imatrix --threads --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) _wane_files '!*.gguf' ;;
      esac ;;
    imatrix)
      case $prev in
        -o|--output) _wane_files; return ;;
        -c|--context) :; return ;;
        --chunks) :; return ;;
        --first-chunk) :; return ;;
        --resume) _wane_files; return ;;
        --save-every) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --output --context --chunks --first-chunk --resume --save-every --threads --output-tensor --overwrite --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        *) _wane_files ;;
      esac ;;
    perplexity)
      case $prev in
        -c|--context) :; return ;;
        --chunks) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --context --chunks --threads --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) _wane_files ;;
      esac ;;
    compare)
      case $prev in
        --text) _wane_files; return ;;
        -c|--context) :; return ;;
        --chunks) :; return ;;
        --tasks) :; return ;;
        -i|--imatrix) _wane_files; return ;;
        -o|--output) _wane_files; return ;;
        --tensor) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --text --context --chunks --tasks --imatrix --output --tensor --threads --heat --no-speed --no-hashes --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        *) _wane_files '!*.gguf' ;;
      esac ;;
    tasks)
      case $prev in
        --text) _wane_files; return ;;
        -c|--context) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --text --context --threads --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        *) COMPREPLY=($(compgen -W "passkey arithmetic rare copy induction" -- "$cur")) ;;
      esac ;;
    fit)
      case $prev in
        -c|--context) :; return ;;
        --kv) COMPREPLY=($(compgen -W "f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0" -- "$cur")); return ;;
        --sequences) :; return ;;
        --recipe) COMPREPLY=($(compgen -W "AUTO COPY F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE NVFP4 Q1_0 Q2_0" -- "$cur")); return ;;
        --ram) :; return ;;
        --reserve) :; return ;;
        --task) COMPREPLY=($(compgen -W "classification chat writing code" -- "$cur")); return ;;
        --params) :; return ;;
        --layers) :; return ;;
        --width) :; return ;;
        --heads) :; return ;;
        --kv-heads) :; return ;;
        --ff) :; return ;;
        --vocab) :; return ;;
        --experts) :; return ;;
        --used) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --context --kv --sequences --recipe --ram --reserve --task --params --layers --width --heads --kv-heads --ff --vocab --experts --used --threads --max-context --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
      esac ;;
    explain)
      case $prev in
        -i|--imatrix) _wane_files; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --imatrix --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) COMPREPLY=($(compgen -W "AUTO COPY F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE NVFP4 Q1_0 Q2_0" -- "$cur")) ;;
        1) _wane_files '!*.gguf' ;;
      esac ;;
    generate)
      case $prev in
        -f|--file) _wane_files; return ;;
        -n|--max-tokens) :; return ;;
        --temperature) :; return ;;
        --top-k) :; return ;;
        --top-p) :; return ;;
        --min-p) :; return ;;
        --repeat-penalty) :; return ;;
        --seed) :; return ;;
        --stop) :; return ;;
        --grammar) _wane_files; return ;;
        --json-schema) _wane_files; return ;;
        --lora) _wane_files; return ;;
        --draft) _wane_files '!*.gguf'; return ;;
        --kv) COMPREPLY=($(compgen -W "f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0" -- "$cur")); return ;;
        -c|--context) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --file --max-tokens --temperature --top-k --top-p --min-p --repeat-penalty --seed --stop --grammar --json-schema --lora --draft --kv --context --threads --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) : ;;
      esac ;;
    chat)
      case $prev in
        -s|--system) :; return ;;
        --template) _wane_files; return ;;
        --format) COMPREPLY=($(compgen -W "chatml gemma llama3 phi3 plain zephyr" -- "$cur")); return ;;
        --tools) _wane_files; return ;;
        -n|--max-tokens) :; return ;;
        --temperature) :; return ;;
        --top-k) :; return ;;
        --top-p) :; return ;;
        --min-p) :; return ;;
        --repeat-penalty) :; return ;;
        --seed) :; return ;;
        --stop) :; return ;;
        --grammar) _wane_files; return ;;
        --json-schema) _wane_files; return ;;
        --lora) _wane_files; return ;;
        --draft) _wane_files '!*.gguf'; return ;;
        --kv) COMPREPLY=($(compgen -W "f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0" -- "$cur")); return ;;
        -c|--context) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --system --template --format --tools --max-tokens --temperature --top-k --top-p --min-p --repeat-penalty --seed --stop --grammar --json-schema --lora --draft --kv --context --threads --no-edit" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
      esac ;;
    serve)
      case $prev in
        --host) :; return ;;
        -p|--port) :; return ;;
        --api-key) :; return ;;
        --alias) :; return ;;
        --parallel) :; return ;;
        --queue) :; return ;;
        -c|--context) :; return ;;
        --kv) COMPREPLY=($(compgen -W "f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0" -- "$cur")); return ;;
        --template) _wane_files; return ;;
        --format) :; return ;;
        --report) _wane_files; return ;;
        --pooling) COMPREPLY=($(compgen -W "mean cls last" -- "$cur")); return ;;
        --timeout) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --host --port --api-key --alias --parallel --queue --context --kv --template --format --report --pooling --timeout --threads --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
      esac ;;
    sweep)
      case $prev in
        --model) _wane_files '!*.gguf'; return ;;
        --text) _wane_files; return ;;
        --calibrate) _wane_files; return ;;
        -c|--context) :; return ;;
        --chunks) :; return ;;
        --calibrate-chunks) :; return ;;
        --per-job) :; return ;;
        --shards) :; return ;;
        --emit) COMPREPLY=($(compgen -W "make parallel slurm" -- "$cur")); return ;;
        --program) :; return ;;
        -o|--output) _wane_files '*'; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --model --text --calibrate --context --chunks --calibrate-chunks --per-job --shards --emit --program --output --threads --json" -- "$cur")); return ;;
      esac
      case $n in
        *) : ;;
      esac ;;
    convert)
      case $prev in
        --type) COMPREPLY=($(compgen -W "AUTO COPY F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE NVFP4 Q1_0 Q2_0" -- "$cur")); return ;;
        --base) _wane_files '*'; return ;;
        -i|--imatrix) _wane_files; return ;;
        --name) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --type --base --imatrix --name --overwrite --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '*' ;;
        1) _wane_files ;;
      esac ;;
    tokenize)
      case $prev in
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --special --parse-special --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) : ;;
      esac ;;
    embed)
      case $prev in
        -f|--file) _wane_files; return ;;
        --pooling) COMPREPLY=($(compgen -W "cls last mean none rank" -- "$cur")); return ;;
        --dimensions) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --file --pooling --dimensions --threads --raw --similarity --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        *) : ;;
      esac ;;
    rank)
      case $prev in
        -f|--file) _wane_files; return ;;
        -n|--top) :; return ;;
        -t|--threads) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --file --top --threads --json --wide" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) : ;;
        *) : ;;
      esac ;;
    merge)
      case $prev in
        --lora) _wane_files; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --lora --overwrite --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) _wane_files ;;
      esac ;;
    split)
      case $prev in
        --size) :; return ;;
        --tensors) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --size --tensors --overwrite --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) _wane_files ;;
      esac ;;
    meta)
      case $prev in
        --set) :; return ;;
        --set-file) :; return ;;
        --remove) :; return ;;
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help --set --set-file --remove --overwrite --json" -- "$cur")); return ;;
      esac
      case $n in
        0) _wane_files '!*.gguf' ;;
        1) _wane_files ;;
      esac ;;
    completion)
      case $prev in
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W "--help" -- "$cur")); return ;;
      esac
      case $n in
        0) COMPREPLY=($(compgen -W "bash zsh fish man" -- "$cur")) ;;
      esac ;;
  esac
}
complete -F _wane wane
