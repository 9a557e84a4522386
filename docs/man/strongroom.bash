# bash completion for strongroom. Made by strongroom completion; do not edit.
_strongroom() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path='' words='' i next known
  local -a commands=('dev' 'dev up' 'dev down' 'dev issue' 'dev token' 'dev env' 'wrap' 'unwrap' 'rewrap' 'datakey' 'inspect' 'status' 'keyring' 'keyring list' 'keyring show' 'keyring disable' 'version' 'version cancel-destruction' 'version attest' 'version report' 'version close-emergency' 'propose' 'proposal' 'proposal list' 'proposal show' 'proposal withdraw' 'approve' 'reject' 'execute' 'dek' 'dek put' 'dek get' 'dek delete' 'dek list' 'dek unwrap' 'rewrap-plan' 'job' 'job list' 'job show' 'job watch' 'job pause' 'job resume' 'job cancel' 'census' 'census show' 'census acknowledge' 'break-glass' 'break-glass list' 'break-glass close' 'break-glass review' 'ceremony' 'ceremony run' 'principal' 'principal list' 'principal add' 'principal import' 'principal revoke' 'principal first' 'principal prove' 'ledger' 'ledger show' 'ledger export' 'ledger verify' 'ledger vkey' 'ledger prove' 'ledger rebuild' 'backup' 'restore' 'man' 'completion')
  case $prev in
    --in|--out|--key|--cert|--ca|--signature|--dir|--data) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --server|--keyring|--aad|--reason|--param|--port|--as|--from|--op|--bytes|--custodian|--token-hosts) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    next=${path:+$path }${COMP_WORDS[i]}
    for known in "${commands[@]}"; do
      if [[ $known == "$next" ]]; then path=$next; break; fi
    done
  done
  case $path in
    '') words='dev wrap unwrap rewrap datakey inspect status keyring version propose proposal approve reject execute dek rewrap-plan job census break-glass ceremony principal ledger backup restore man completion --help --version --server --ca --cert --key --json' ;;
    'dev') words='up down issue token env --help' ;;
    'dev up') words='--help --dir --port --token-hosts --blank' ;;
    'dev down') words='--help --dir' ;;
    'dev issue') words='--help --dir' ;;
    'dev token') words='--help --dir' ;;
    'dev env') words='--help --dir --as' ;;
    'wrap') words='--help --keyring --aad --in --ndjson --out' ;;
    'unwrap') words='--help --keyring --aad --in --ndjson --out' ;;
    'rewrap') words='--help --keyring --in --ndjson --out' ;;
    'datakey') words='--help --keyring --aad --bytes --plaintext --ndjson --in --out' ;;
    'inspect') words='--help' ;;
    'status') words='--help' ;;
    'keyring') words='list show disable --help' ;;
    'keyring list') words='--help' ;;
    'keyring show') words='--help' ;;
    'keyring disable') words='--help' ;;
    'version') words='cancel-destruction attest report close-emergency --help' ;;
    'version cancel-destruction') words='--help' ;;
    'version attest') words='--help --statement' ;;
    'version report') words='--help' ;;
    'version close-emergency') words='--help' ;;
    'propose') words='--help --keyring --param --reason' ;;
    'proposal') words='list show withdraw --help' ;;
    'proposal list') words='--help' ;;
    'proposal show') words='--help --text' ;;
    'proposal withdraw') words='--help' ;;
    'approve') words='--help --key --signature --custodian' ;;
    'reject') words='--help --key --signature --custodian' ;;
    'execute') words='--help' ;;
    'dek') words='put get delete list unwrap --help' ;;
    'dek put') words='--help --keyring --in --ndjson --out' ;;
    'dek get') words='--help --keyring' ;;
    'dek delete') words='--help --keyring' ;;
    'dek list') words='--help --keyring --version --quarantined --ndjson --out' ;;
    'dek unwrap') words='--help --keyring --aad --out' ;;
    'rewrap-plan') words='--help' ;;
    'job') words='list show watch pause resume cancel --help' ;;
    'job list') words='--help' ;;
    'job show') words='--help' ;;
    'job watch') words='--help' ;;
    'job pause') words='--help' ;;
    'job resume') words='--help' ;;
    'job cancel') words='--help' ;;
    'census') words='show acknowledge --help' ;;
    'census show') words='--help' ;;
    'census acknowledge') words='--help --version --count' ;;
    'break-glass') words='list close review --help' ;;
    'break-glass list') words='--help' ;;
    'break-glass close') words='--help' ;;
    'break-glass review') words='--help --finding --key --signature --reviewer --text' ;;
    'ceremony') words='run --help' ;;
    'ceremony run') words='--help --set --participant --out --dry-run --wait-seconds' ;;
    'principal') words='list add import revoke first prove --help' ;;
    'principal list') words='--help' ;;
    'principal add') words='--help --reason --votes --role --cert --ssh-key --proof --replace' ;;
    'principal import') words='--help --reason' ;;
    'principal revoke') words='--help --reason --votes' ;;
    'principal first') words='--help --dir --votes --member' ;;
    'principal prove') words='--help --key' ;;
    'ledger') words='show export verify vkey prove rebuild --help' ;;
    'ledger show') words='--help --from --op --since' ;;
    'ledger export') words='--help --out' ;;
    'ledger verify') words='--help --vkey --archive' ;;
    'ledger vkey') words='--help --out' ;;
    'ledger prove') words='--help' ;;
    'ledger rebuild') words='--help --data --without-journal' ;;
    'backup') words='--help --out' ;;
    'restore') words='--help --in --dir --archive --vkey --unbound-inventory' ;;
    'man') words='--help' ;;
    'completion') words='--help' ;;
  esac
  [[ -n $path && $cur == -* ]] && words+=' --help --version --server --ca --cert --key --json'
  # Options are offered to whoever begins one, commands to everyone else.
  [[ $cur == -* ]] || words=${words%%--*}
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _strongroom strongroom
