#pragma once
// Good inputs, made once by a development appliance and by stock ssh-keygen, for fuzzing to begin with. The keys behind
// them are gone.

#include <cstdint>
#include <string_view>

namespace strongroom::tests {

inline constexpr std::string_view kSampleEnvelope =
    "srw1:AQGVDdK4i-bXERD-V_xTz17RyQZRFbZAlGd_q0iao3pvqQAAAAHJBlEVtkCUZ3-rSJqjem-"
    "pAAAAAQBg3bDceRZbND5XR4mcl9fikcJMiPzmz3b-"
    "cIwPt2HeVHJ5d3BVc414FUHSOYCaKvxs8FxSaoPu0yx4VjDufKeaOuxWlVZ4ge44bI12v9lJ6HusafkDk0M0HDJm-yPoeOPA";
inline constexpr std::string_view kSampleProposal = R"x(strongroom proposal v2
instance: 950dd2b88be6d71110fe57fc53cf5ed1
operation: keyring.create
keyring: install
param custody: token:3ca6ba186577361c
param grants: service-1=datakey+rewrap+unwrap+wrap
param keyring-id: c9065115b64094677fab489aa37a6fa9
param suite: kwp
param version: 1
reason: dev up: keyring install
requester: operator-1
nonce: 16364422d0e30d206ae1c388d5bac93a
created: 2026-11-22T14:38:11Z
approve-by: 2026-11-23T14:38:11Z
execute-by: 2026-11-24T14:38:11Z
roster: 1 a2b9a5a6c027bae51540d9ad99e82ba92cdc0a0a97eb20bd104c5ebe64f240f7
policy: ceremony 2 of 3
control-log: 1 fc23ad19dbe217ffb49211a68dd23ffcabcfa8eab3012f1171e7827185303d3f
epoch: 1
)x";
inline constexpr std::string_view kSampleProposalV1 = R"x(strongroom proposal v1
instance: 950dd2b88be6d71110fe57fc53cf5ed1
operation: keyring.create
keyring: install
param custody: token:3ca6ba186577361c
param grants: service-1=datakey+rewrap+unwrap+wrap
param keyring-id: c9065115b64094677fab489aa37a6fa9
param suite: kwp
param version: 1
reason: dev up: keyring install
requester: operator-1
nonce: 16364422d0e30d206ae1c388d5bac93a
created: 2026-11-22T14:38:11Z
approve-by: 2026-11-23T14:38:11Z
execute-by: 2026-11-24T14:38:11Z
roster: 1 a2b9a5a6c027bae51540d9ad99e82ba92cdc0a0a97eb20bd104c5ebe64f240f7
policy: ceremony 2 of 3
control-log: 1 fc23ad19dbe217ffb49211a68dd23ffcabcfa8eab3012f1171e7827185303d3f
)x";
inline constexpr std::string_view kSampleRoster = R"x(strongroom roster v1
instance: 950dd2b88be6d71110fe57fc53cf5ed1
version: 1
previous: none
policy: break-glass 2
policy: ceremony 2
policy: destruction 2
policy: emergency 2
policy: recovery 2
policy: roster 2
policy: rotation 2
principal: auditor-1 auditor e41fb3a021438a40849b789a140182103b1658f23d4c8d06ae60645d30ff161e
principal: custodian-1 custodian 18a6bce27c8eb6a9626b7ff6adde5d81df400730561e0c8768fccbf9aa90623d ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPjwdJJohvzYJIYptx8EBv6c3TK3wYI2ZLoVwwexBiTT
principal: custodian-2 custodian d094f49d5949cff9d6b3b72e9f43f052117f2ec425f67347398152f9381ec746 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEY7co8sUoQQJEfwE4ZKL2IROKrXUvrbU5Xcpg47kKfL
principal: custodian-3 custodian c10e51758a096767f52315ab7fdede7ec9cb919e4c115ec5eea6ee36add06da7 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE+BHEPIty/k2YL7Y/Tl+LzLXcxuHbBOAbD1/ZtOmM6S
principal: monitor-1 monitor 4675ba87ba1c1fbd1a3eb5c8996154d6013174880d9e2654e5061923237de2a8
principal: operator-1 operator 615b21fd4906f327fe7105dfe649a81c996ecc0798d16181c89f0d0ba67d80e0
principal: operator-2 operator 93b810d6a2d32c83ea69e6b9475b00bde0d4d1566704c7eda6a53d3c4f83de9e
principal: service-1 service 3dd767bf3b918077ae2d791b65421b0d150c8708f61f53a91eb256e7e29d5a73
principal: service-2 service ab0903930fbc621a118028175d699bcd3df7b4cf403c5144a34d2f583d9c7617
)x";
inline constexpr std::string_view kSignedSample = "what custodians vote on\n";
inline constexpr std::string_view kSampleKey =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFUORwgSPFcIHEWLjbM81YyJKArylYhup7e3A6zfqwFY";
inline constexpr std::string_view kSampleSignature =
    R"x(ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFUORwgSPFcIHEWLjbM81YyJKArylYhup7e3A6zfqwFY
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgVQ5HCBI8VwgcRYuNszzVjIkoCv
KViG6nt7cDrN+rAVgAAAAPdm90ZUBzdHJvbmdyb29tAAAAAAAAAAZzaGE1MTIAAABTAAAA
C3NzaC1lZDI1NTE5AAAAQM1qfMJALxFhE0hSojF1hgPU+pQ3omejiT26pOr5wrdyBwVrB3
8xnttwMS/tdP9IqjW2kCAYC0rCciFqSbwl8gM=
-----END SSH SIGNATURE-----
)x";
inline constexpr std::string_view kSampleNoteKey =
    "strongroom/"
    "950dd2b88be6d71110fe57fc53cf5ed1+304131aa+"
    "AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNSShUGvIowtg4Q1n1m35fjG8aqEBWlDJeabI+T2qlVPgHgmJM4voM6BurXFZgy+"
    "gKFpU6jQXtW93mmxvWfX42w=";
inline constexpr std::string_view kSampleNoteText = R"x(strongroom/950dd2b88be6d71110fe57fc53cf5ed1/control/1
25
z6T2S6dUUMsEdCDGT7enTSQdadqByO5KKS+F4OSsYeM=
)x";
// A checkpoint, its bundle of entries and its tile of hashes; base64.
inline constexpr std::uint64_t kSampleLogSize = 25;
inline constexpr std::string_view kSampleNote =
    "c3Ryb25ncm9vbS85NTBkZDJiODhiZTZkNzExMTBmZTU3ZmM1M2NmNWVkMS9jb250cm9sLzEKMjUKejZUMlM2ZFVVTXNFZENER1Q3ZW5UU1FkYW"
    "RxQnlPNUtLUytGNE9Tc1llTT0KCuKAlCBzdHJvbmdyb29tLzk1MGRkMmI4OGJlNmQ3MTExMGZlNTdmYzUzY2Y1ZWQxIE1FRXhxakJFQWlCcCto"
    "Ymc3NTd2bVhaWTlCQVJvQW1DZ1dJeE9JUkNnOTdmdVZOR3E2akRkZ0lnSGVSd3I0S1BOK3d3cVRuZmJ2VFhuTFdQUS9qWFRMbWsvK21wNkJLdU"
    "RZaz0K";
inline constexpr std::string_view kSampleBundle =
    "CSwBAQAAAaIDsXdpAAAFNXN0cm9uZ3Jvb20gcm9zdGVyIHYxCmluc3RhbmNlOiA5NTBkZDJiODhiZTZkNzExMTBmZTU3ZmM1M2NmNWVkMQp2ZX"
    "JzaW9uOiAxCnByZXZpb3VzOiBub25lCnBvbGljeTogYnJlYWstZ2xhc3MgMgpwb2xpY3k6IGNlcmVtb255IDIKcG9saWN5OiBkZXN0cnVjdGlv"
    "biAyCnBvbGljeTogZW1lcmdlbmN5IDIKcG9saWN5OiByZWNvdmVyeSAyCnBvbGljeTogcm9zdGVyIDIKcG9saWN5OiByb3RhdGlvbiAyCnByaW"
    "5jaXBhbDogYXVkaXRvci0xIGF1ZGl0b3IgZTQxZmIzYTAyMTQzOGE0MDg0OWI3ODlhMTQwMTgyMTAzYjE2NThmMjNkNGM4ZDA2YWU2MDY0NWQz"
    "MGZmMTYxZQpwcmluY2lwYWw6IGN1c3RvZGlhbi0xIGN1c3RvZGlhbiAxOGE2YmNlMjdjOGViNmE5NjI2YjdmZjZhZGRlNWQ4MWRmNDAwNzMwNT"
    "YxZTBjODc2OGZjY2JmOWFhOTA2MjNkIHNzaC1lZDI1NTE5IEFBQUFDM056YUMxbFpESTFOVEU1QUFBQUlQandkSkpvaHZ6WUpJWXB0eDhFQnY2"
    "YzNUSzN3WUkyWkxvVnd3ZXhCaVRUCnByaW5jaXBhbDogY3VzdG9kaWFuLTIgY3VzdG9kaWFuIGQwOTRmNDlkNTk0OWNmZjlkNmIzYjcyZTlmND"
    "NmMDUyMTE3ZjJlYzQyNWY2NzM0NzM5ODE1MmY5MzgxZWM3NDYgc3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUVZN2NvOHNV"
    "b1FRSkVmd0U0WktMMklST0tyWFV2cmJVNVhjcGc0N2tLZkwKcHJpbmNpcGFsOiBjdXN0b2RpYW4tMyBjdXN0b2RpYW4gYzEwZTUxNzU4YTA5Nj"
    "c2N2Y1MjMxNWFiN2ZkZWRlN2VjOWNiOTE5ZTRjMTE1ZWM1ZWVhNmVlMzZhZGQwNmRhNyBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRF"
    "NUFBQUFJRStCSEVQSXR5L2syWUw3WS9UbCtMekxYY3h1SGJCT0FiRDEvWnRPbU02UwpwcmluY2lwYWw6IG1vbml0b3ItMSBtb25pdG9yIDQ2Nz"
    "ViYTg3YmExYzFmYmQxYTNlYjVjODk5NjE1NGQ2MDEzMTc0ODgwZDllMjY1NGU1MDYxOTIzMjM3ZGUyYTgKcHJpbmNpcGFsOiBvcGVyYXRvci0x"
    "IG9wZXJhdG9yIDYxNWIyMWZkNDkwNmYzMjdmZTcxMDVkZmU2NDlhODFjOTk2ZWNjMDc5OGQxNjE4MWM4OWYwZDBiYTY3ZDgwZTAKcHJpbmNpcG"
    "FsOiBvcGVyYXRvci0yIG9wZXJhdG9yIDkzYjgxMGQ2YTJkMzJjODNlYTY5ZTZiOTQ3NWIwMGJkZTBkNGQxNTY2NzA0YzdlZGE2YTUzZDNjNGY4"
    "M2RlOWUKcHJpbmNpcGFsOiBzZXJ2aWNlLTEgc2VydmljZSAzZGQ3NjdiZjNiOTE4MDc3YWUyZDc5MWI2NTQyMWIwZDE1MGM4NzA4ZjYxZjUzYT"
    "kxZWIyNTZlN2UyOWQ1YTczCnByaW5jaXBhbDogc2VydmljZS0yIHNlcnZpY2UgYWIwOTAzOTMwZmJjNjIxYTExODAyODE3NWQ2OTliY2QzZGY3"
    "YjRjZjQwM2M1MTQ0YTM0ZDJmNTgzZDljNzYxNwoAAwAAAAtjdXN0b2RpYW4tMQAAATotLS0tLUJFR0lOIFNTSCBTSUdOQVRVUkUtLS0tLQpVMU"
    "5JVTBsSEFBQUFBUUFBQURNQUFBQUxjM05vTFdWa01qVTFNVGtBQUFBZytQQjBrbWlHL05na2hpbTNId1FHL3B6ZE1yCmZCZ2paa3VoWERCN0VH"
    "Sk5NQUFBQVJjbTl6ZEdWeVFITjBjbTl1WjNKdmIyMEFBQUFBQUFBQUJuTm9ZVFV4TWdBQUFGTUEKQUFBTGMzTm9MV1ZrTWpVMU1Ua0FBQUJBRk"
    "I1aVpING1DZmV3cHYxcEJyeDNyN2x2NVFIWGFLTWkyc3R2UHlEd1hwVkZocQpFWVRtbHRWMjdvWVYyK0VHWWhZWk0xQTRtYThBR0RrMGZGblJO"
    "dUFBPT0KLS0tLS1FTkQgU1NIIFNJR05BVFVSRS0tLS0tCgAAAAtjdXN0b2RpYW4tMgAAATotLS0tLUJFR0lOIFNTSCBTSUdOQVRVUkUtLS0tLQ"
    "pVMU5JVTBsSEFBQUFBUUFBQURNQUFBQUxjM05vTFdWa01qVTFNVGtBQUFBZ1JqdHlqeXhTaEJBa1IvQVRoa292WWhFNHF0CmRTK3R0VGxkeW1E"
    "anVRcDhzQUFBQVJjbTl6ZEdWeVFITjBjbTl1WjNKdmIyMEFBQUFBQUFBQUJuTm9ZVFV4TWdBQUFGTUEKQUFBTGMzTm9MV1ZrTWpVMU1Ua0FBQU"
    "JBZVhpekZIMlNZRDhQSUM4TjVnM3poaDVNMUxham10c2txRnM1VFkyb1pFTmdHYQpPS0dHajNzeXNOK0N5UTYzNmhHcFUyZVFFMjZMT0dnV2JI"
    "WHZzUkJnPT0KLS0tLS1FTkQgU1NIIFNJR05BVFVSRS0tLS0tCgAAAAtjdXN0b2RpYW4tMwAAATotLS0tLUJFR0lOIFNTSCBTSUdOQVRVUkUtLS"
    "0tLQpVMU5JVTBsSEFBQUFBUUFBQURNQUFBQUxjM05vTFdWa01qVTFNVGtBQUFBZ1Q0RWNROGkzTCtUWmd2dGo5T1g0dk10ZHpHCjRkc0U0QnNQ"
    "WDltMDZZenBJQUFBQVJjbTl6ZEdWeVFITjBjbTl1WjNKdmIyMEFBQUFBQUFBQUJuTm9ZVFV4TWdBQUFGTUEKQUFBTGMzTm9MV1ZrTWpVMU1Ua0"
    "FBQUJBL0NCV3FEUllNRVlpSzN5VDFGS25sL1BnTzRyb3JrVGwrVWM5ZWJpN2VCcDl1agpXdGtwTEpwSUMzZ2dPNDRoQXErMFJPNEZxM1JoZ3Uy"
    "OWc1REllOUJnPT0KLS0tLS1FTkQgU1NIIFNJR05BVFVSRS0tLS0tCgKaAQIAAAGiA7F32AAAAoxzdHJvbmdyb29tIHByb3Bvc2FsIHYxCmluc3"
    "RhbmNlOiA5NTBkZDJiODhiZTZkNzExMTBmZTU3ZmM1M2NmNWVkMQpvcGVyYXRpb246IGtleXJpbmcuY3JlYXRlCmtleXJpbmc6IGluc3RhbGwK"
    "cGFyYW0gY3VzdG9keTogdG9rZW46M2NhNmJhMTg2NTc3MzYxYwpwYXJhbSBncmFudHM6IHNlcnZpY2UtMT1kYXRha2V5K3Jld3JhcCt1bndyYX"
    "Ard3JhcApwYXJhbSBrZXlyaW5nLWlkOiBjOTA2NTExNWI2NDA5NDY3N2ZhYjQ4OWFhMzdhNmZhOQpwYXJhbSBzdWl0ZToga3dwCnBhcmFtIHZl"
    "cnNpb246IDEKcmVhc29uOiBkZXYgdXA6IGtleXJpbmcgaW5zdGFsbApyZXF1ZXN0ZXI6IG9wZXJhdG9yLTEKbm9uY2U6IDE2MzY0NDIyZDBlMz"
    "BkMjA2YWUxYzM4OGQ1YmFjOTNhCmNyZWF0ZWQ6IDIwMjYtMTEtMjJUMTQ6Mzg6MTFaCmFwcHJvdmUtYnk6IDIwMjYtMTEtMjNUMTQ6Mzg6MTFa"
    "CmV4ZWN1dGUtYnk6IDIwMjYtMTEtMjRUMTQ6Mzg6MTFaCnJvc3RlcjogMSBhMmI5YTVhNmMwMjdiYWU1MTU0MGQ5YWQ5OWU4MmJhOTJjZGMwYT"
    "BhOTdlYjIwYmQxMDRjNWViZTY0ZjI0MGY3CnBvbGljeTogY2VyZW1vbnkgMiBvZiAzCmNvbnRyb2wtbG9nOiAxIGZjMjNhZDE5ZGJlMjE3ZmZi"
    "NDkyMTFhNjhkZDIzZmZjYWJjZmE4ZWFiMzAxMmYxMTcxZTc4MjcxODUzMDNkM2YKAXgBAwAAAaIDsXfnAAAAIGExMTNiMDIwNTE5MTg3NGM3MW"
    "RkZTkwNDM4MWRjYTEzAAAAC2N1c3RvZGlhbi0xAQAAATYtLS0tLUJFR0lOIFNTSCBTSUdOQVRVUkUtLS0tLQpVMU5JVTBsSEFBQUFBUUFBQURN"
    "QUFBQUxjM05vTFdWa01qVTFNVGtBQUFBZytQQjBrbWlHL05na2hpbTNId1FHL3B6ZE1yCmZCZ2paa3VoWERCN0VHSk5NQUFBQVBkbTkwWlVCem"
    "RISnZibWR5YjI5dEFBQUFBQUFBQUFaemFHRTFNVElBQUFCVEFBQUEKQzNOemFDMWxaREkxTlRFNUFBQUFRTlB2d3FwRE5ycE1rNGlHSkVxaTh1"
    "RkhYVHppWDJqK2xXSzJIZlhxM0Nqam5VWEZEVApWUzNEa1E5aTNHNjlMK2cybFU2eDd6VlNLUEdJSjFsRDhGMWdJPQotLS0tLUVORCBTU0ggU0"
    "lHTkFUVVJFLS0tLS0KAXgBAwAAAaIDsXf7AAAAIGExMTNiMDIwNTE5MTg3NGM3MWRkZTkwNDM4MWRjYTEzAAAAC2N1c3RvZGlhbi0yAQAAATYt"
    "LS0tLUJFR0lOIFNTSCBTSUdOQVRVUkUtLS0tLQpVMU5JVTBsSEFBQUFBUUFBQURNQUFBQUxjM05vTFdWa01qVTFNVGtBQUFBZ1JqdHlqeXhTaE"
    "JBa1IvQVRoa292WWhFNHF0CmRTK3R0VGxkeW1EanVRcDhzQUFBQVBkbTkwWlVCemRISnZibWR5YjI5dEFBQUFBQUFBQUFaemFHRTFNVElBQUFC"
    "VEFBQUEKQzNOemFDMWxaREkxTlRFNUFBQUFRSHlGRldxd0xXZ29US1hXazg2cENCV25mTTdjVnM5NjVSeU1lZTJ3bW8zc1Fyb3RqYwp1MkQ5aj"
    "hIWldWbitvMlFNc3Q3YlBob1hmT1B2b1BJMnJnT3dJPQotLS0tLUVORCBTU0ggU0lHTkFUVVJFLS0tLS0KADwBBQAAAaIDsXgDAAAAIGExMTNi"
    "MDIwNTE5MTg3NGM3MWRkZTkwNDM4MWRjYTEzAAAACm9wZXJhdG9yLTEAaAEGAAABogOxeJvJBlEVtkCUZ3+rSJqjem+pAAAAB2luc3RhbGwBAA"
    "AAFnRva2VuOjNjYTZiYTE4NjU3NzM2MWMAAAAkc2VydmljZS0xPWRhdGFrZXkrcmV3cmFwK3Vud3JhcCt3cmFwAGEBBwAAAaIDsXibyQZRFbZA"
    "lGd/q0iao3pvqQAAAAEBAAAAFnRva2VuOjNjYTZiYTE4NjU3NzM2MWPJBlEVtkCUZ3+rSJqjem+pAAAAAQAAABAzY2E2YmExODY1NzczNjFjAB"
    "4BCAAAAaIDsXibyQZRFbZAlGd/q0iao3pvqQAAAAEANwEJAAABogOxeJsAAAAgYTExM2IwMjA1MTkxODc0YzcxZGRlOTA0MzgxZGNhMTMBAAAA"
    "AAAAAAAClgECAAABogOxeO8AAAKIc3Ryb25ncm9vbSBwcm9wb3NhbCB2MQppbnN0YW5jZTogOTUwZGQyYjg4YmU2ZDcxMTEwZmU1N2ZjNTNjZj"
    "VlZDEKb3BlcmF0aW9uOiBrZXlyaW5nLmNyZWF0ZQprZXlyaW5nOiBvcmctYQpwYXJhbSBjdXN0b2R5OiB0b2tlbjozY2E2YmExODY1NzczNjFj"
    "CnBhcmFtIGdyYW50czogc2VydmljZS0yPWRhdGFrZXkrcmV3cmFwK3Vud3JhcCt3cmFwCnBhcmFtIGtleXJpbmctaWQ6IDkxMmE2YjY3NTUxMD"
    "Q0MWI3MTEwMGVhMGU1MmM5ODk5CnBhcmFtIHN1aXRlOiBnY20KcGFyYW0gdmVyc2lvbjogMQpyZWFzb246IGRldiB1cDoga2V5cmluZyBvcmct"
    "YQpyZXF1ZXN0ZXI6IG9wZXJhdG9yLTEKbm9uY2U6IGVmNjVkY2Y5Zjk2N2M1MTRkOTRiNGExZTFiYThmYzBiCmNyZWF0ZWQ6IDIwMjYtMTEtMj"
    "JUMTQ6Mzg6MTJaCmFwcHJvdmUtYnk6IDIwMjYtMTEtMjNUMTQ6Mzg6MTJaCmV4ZWN1dGUtYnk6IDIwMjYtMTEtMjRUMTQ6Mzg6MTJaCnJvc3Rl"
    "cjogMSBhMmI5YTVhNmMwMjdiYWU1MTU0MGQ5YWQ5OWU4MmJhOTJjZGMwYTBhOTdlYjIwYmQxMDRjNWViZTY0ZjI0MGY3CnBvbGljeTogY2VyZW"
    "1vbnkgMiBvZiAzCmNvbnRyb2wtbG9nOiA5IDYwNmI4MjU5N2Y5MWRhY2I3MGI0ZDg0Mzk3ZTY1ZjY4MzgxMjkzNTBlOTkxMDQyNWRjY2VlOGEx"
    "MDc0YjNlZDEKAXgBAwAAAaIDsXkkAAAAIDIzY2Q1ZDQ2YjhmNzcwODRhZTA2ZDNjYTRiNDcyNDYwAAAAC2N1c3RvZGlhbi0xAQAAATYtLS0tLU"
    "JFR0lOIFNTSCBTSUdOQVRVUkUtLS0tLQpVMU5JVTBsSEFBQUFBUUFBQURNQUFBQUxjM05vTFdWa01qVTFNVGtBQUFBZytQQjBrbWlHL05na2hp"
    "bTNId1FHL3B6ZE1yCmZCZ2paa3VoWERCN0VHSk5NQUFBQVBkbTkwWlVCemRISnZibWR5YjI5dEFBQUFBQUFBQUFaemFHRTFNVElBQUFCVEFBQU"
    "EKQzNOemFDMWxaREkxTlRFNUFBQUFRT043M29acEs4N0xLMWl6ZG1BbGhyM3kyOXUrWTQyU2dTTFhkamFady9tQTltSVdUUwozMGdZeFI2TU5a"
    "UjdGSG9DZzFkZEh3V21TTy83UE9mOXdHZWdnPQotLS0tLUVORCBTU0ggU0lHTkFUVVJFLS0tLS0KAXgBAwAAAaIDsXkxAAAAIDIzY2Q1ZDQ2Yj"
    "hmNzcwODRhZTA2ZDNjYTRiNDcyNDYwAAAAC2N1c3RvZGlhbi0yAQAAATYtLS0tLUJFR0lOIFNTSCBTSUdOQVRVUkUtLS0tLQpVMU5JVTBsSEFB"
    "QUFBUUFBQURNQUFBQUxjM05vTFdWa01qVTFNVGtBQUFBZ1JqdHlqeXhTaEJBa1IvQVRoa292WWhFNHF0CmRTK3R0VGxkeW1EanVRcDhzQUFBQV"
    "BkbTkwWlVCemRISnZibWR5YjI5dEFBQUFBQUFBQUFaemFHRTFNVElBQUFCVEFBQUEKQzNOemFDMWxaREkxTlRFNUFBQUFRRGI2YUd0U1BWNnVB"
    "UTdMb3RNdVdWNER1Zm5PR3pnVzhoazBwdDZDM3J1cjBiNHRBMwpkeG0rc2o0YjEzaTBSeE9tUWRYNkkwUk5QWDlmUVRzZ082aUFVPQotLS0tLU"
    "VORCBTU0ggU0lHTkFUVVJFLS0tLS0KADwBBQAAAaIDsXk/AAAAIDIzY2Q1ZDQ2YjhmNzcwODRhZTA2ZDNjYTRiNDcyNDYwAAAACm9wZXJhdG9y"
    "LTEAZgEGAAABogOxeeeRKmtnVRBEG3EQDqDlLJiZAAAABW9yZy1hAgAAABZ0b2tlbjozY2E2YmExODY1NzczNjFjAAAAJHNlcnZpY2UtMj1kYX"
    "Rha2V5K3Jld3JhcCt1bndyYXArd3JhcABhAQcAAAGiA7F555Eqa2dVEEQbcRAOoOUsmJkAAAABAgAAABZ0b2tlbjozY2E2YmExODY1NzczNjFj"
    "kSprZ1UQRBtxEA6g5SyYmQAAAAEAAAAQM2NhNmJhMTg2NTc3MzYxYwAeAQgAAAGiA7F555Eqa2dVEEQbcRAOoOUsmJkAAAABADcBCQAAAaIDsX"
    "nnAAAAIDIzY2Q1ZDQ2YjhmNzcwODRhZTA2ZDNjYTRiNDcyNDYwAQAAAAAAAAAAArUBAgAAAaIDsXpeAAACp3N0cm9uZ3Jvb20gcHJvcG9zYWwg"
    "djEKaW5zdGFuY2U6IDk1MGRkMmI4OGJlNmQ3MTExMGZlNTdmYzUzY2Y1ZWQxCm9wZXJhdGlvbjoga2V5cmluZy5jcmVhdGUKa2V5cmluZzogb3"
    "JnLWIKcGFyYW0gY3VzdG9keToga2V5cmluZzppbnN0YWxsCnBhcmFtIGdyYW50czogc2VydmljZS0xPWRhdGFrZXkrcmV3cmFwK3Vud3JhcCt3"
    "cmFwLHNlcnZpY2UtMj1kYXRha2V5K3Jld3JhcCt1bndyYXArd3JhcApwYXJhbSBrZXlyaW5nLWlkOiA1YmUyOWIyYmI0YzljNDgyYjNiY2I2ND"
    "Q2ZmVlNDgyNApwYXJhbSBzdWl0ZToga3dwCnBhcmFtIHZlcnNpb246IDEKcmVhc29uOiBkZXYgdXA6IGtleXJpbmcgb3JnLWIKcmVxdWVzdGVy"
    "OiBvcGVyYXRvci0xCm5vbmNlOiBmNmU0YTA5NjNlN2M2MWJmZmExMWE4MDhkZGUxMjNlNwpjcmVhdGVkOiAyMDI2LTExLTIyVDE0OjM4OjEyWg"
    "phcHByb3ZlLWJ5OiAyMDI2LTExLTIzVDE0OjM4OjEyWgpleGVjdXRlLWJ5OiAyMDI2LTExLTI0VDE0OjM4OjEyWgpyb3N0ZXI6IDEgYTJiOWE1"
    "YTZjMDI3YmFlNTE1NDBkOWFkOTllODJiYTkyY2RjMGEwYTk3ZWIyMGJkMTA0YzVlYmU2NGYyNDBmNwpwb2xpY3k6IGNlcmVtb255IDIgb2YgMw"
    "pjb250cm9sLWxvZzogMTcgYjEyZWFkYmVmMzc4OGJkYzI5ODUxMTcwMDViMzMxMGJlMDQwY2M3NTBkN2U2MzYxZmNhNzliMDc2ZDI1Nzk3NQoB"
    "eAEDAAABogOxenkAAAAgM2IyMzM4ZmY0OWRlZWJhNmM1ZTFkMDAwNTM0NWM0NzMAAAALY3VzdG9kaWFuLTEBAAABNi0tLS0tQkVHSU4gU1NIIF"
    "NJR05BVFVSRS0tLS0tClUxTklVMGxIQUFBQUFRQUFBRE1BQUFBTGMzTm9MV1ZrTWpVMU1Ua0FBQUFnK1BCMGttaUcvTmdraGltM0h3UUcvcHpk"
    "TXIKZkJnalprdWhYREI3RUdKTk1BQUFBUGRtOTBaVUJ6ZEhKdmJtZHliMjl0QUFBQUFBQUFBQVp6YUdFMU1USUFBQUJUQUFBQQpDM056YUMxbF"
    "pESTFOVEU1QUFBQVFEcURpMzFRdmhURXRIUzg4Qm9INDRSdFhPV21RSFNIeXQvMlZ6MEErd0hOWjJtcmNFCjVMNkxGQldGUm8vM0Z6QXk5VkJs"
    "MkxXU2xvR01rVm9iTCtidzg9Ci0tLS0tRU5EIFNTSCBTSUdOQVRVUkUtLS0tLQoBeAEDAAABogOxeo0AAAAgM2IyMzM4ZmY0OWRlZWJhNmM1ZT"
    "FkMDAwNTM0NWM0NzMAAAALY3VzdG9kaWFuLTIBAAABNi0tLS0tQkVHSU4gU1NIIFNJR05BVFVSRS0tLS0tClUxTklVMGxIQUFBQUFRQUFBRE1B"
    "QUFBTGMzTm9MV1ZrTWpVMU1Ua0FBQUFnUmp0eWp5eFNoQkFrUi9BVGhrb3ZZaEU0cXQKZFMrdHRUbGR5bURqdVFwOHNBQUFBUGRtOTBaVUJ6ZE"
    "hKdmJtZHliMjl0QUFBQUFBQUFBQVp6YUdFMU1USUFBQUJUQUFBQQpDM056YUMxbFpESTFOVEU1QUFBQVFNbUZ1MUxoZ2lSOHJtQXJ4T04wRFRU"
    "NTg2VFdSK0M5NGlrN2JxN2N3UGllNnZsa2RnCk5kTGlURFliTTcxT1dxdlQ1OHJQMEkxbWw0ZkVyUC9ZbTZlUTQ9Ci0tLS0tRU5EIFNTSCBTSU"
    "dOQVRVUkUtLS0tLQoAPAEFAAABogOxepcAAAAgM2IyMzM4ZmY0OWRlZWJhNmM1ZTFkMDAwNTM0NWM0NzMAAAAKb3BlcmF0b3ItMQCEAQYAAAGi"
    "A7F6mlvimyu0ycSCs7y2RG/uSCQAAAAFb3JnLWIBAAAAD2tleXJpbmc6aW5zdGFsbAAAAElzZXJ2aWNlLTE9ZGF0YWtleStyZXdyYXArdW53cm"
    "FwK3dyYXAsc2VydmljZS0yPWRhdGFrZXkrcmV3cmFwK3Vud3JhcCt3cmFwAFoBBwAAAaIDsXqaW+KbK7TJxIKzvLZEb+5IJAAAAAEBAAAAD2tl"
    "eXJpbmc6aW5zdGFsbMkGURW2QJRnf6tImqN6b6kAAAABAAAAEDNjYTZiYTE4NjU3NzM2MWMAHgEIAAABogOxeppb4psrtMnEgrO8tkRv7kgkAA"
    "AAAQA3AQkAAAGiA7F6mgAAACAzYjIzMzhmZjQ5ZGVlYmE2YzVlMWQwMDA1MzQ1YzQ3MwEAAAAAAAAAAA==";
inline constexpr std::string_view kSampleTile =
    "/COtGdviF/+0khGmjdI//KvPqOqzAS8RceeCcYUwPT/ZzWPCl0XNGY6AEX2fkyMWoUAPTl/BDM5S/YmuCU4IdRngWJSsFsmQXa3OnJhnUWOJtH"
    "DjwOtXDdUxSNhe3VzUrgt1fFwTg/WLTIjqqLi7culy/86Rkb7emQgKff2LeHsejCINtxXUDnXwaWPL8FZDXOLQbrIkERAk6UurGu0ZdxXOX3p2"
    "XuVWkLacSs0gb/LKtvTQvAxiBG0bA2rnJI3+c1CEHV0puxJupxsn0BOaE2aNiwPNPeFaX+DqkYAYOAH8S86l+tEqmGsrJoMFeNOgCveBfa99+z"
    "2TZOKJjzGTHiJ7NCiruesCj94DvhcIu5XwuEwRC7LzvByF6qR5ScibQpkyY+KrPqftpE6qZBvMHKEkI+VS/yNHadGsYrvsQOkdOqn1IOeuT7Mj"
    "rur0KgV3B7p9xrCHTOJVKBSapgPo+oNPbo5a29R3GRMX9ujZ4YHxS7AXZqODjd7xHzWpXS6DxNJ2AYEaOm6+BpVaP/NfSF5W5Y9h48XBq6XDrd"
    "7q6H3R13orQEMHwRzratLYWxTbQV3g/jtJ3iRKgh0/35P6YXWjHF6Gc/lPbCaEvG0aVXTsn6xOWowZrfZsZFGuO4iN3W4BBhi4N1Ki4YeLqvKK"
    "uP2sndx2DkkmV/1+URTuNWPpSMGH3SUCS0lRpC5hr07RaerNY+Bqlx9+Is0RMj26jhubJ1IdcwBTbjfInL6rhxdD+BacxWst5tmRW0BWX+bdmX"
    "kmMslXjwyN31Ptcd4XfgtwdzN6C0LLYJ4ESUXukf7TAkNf0R/cZWX1pH7Az/rdnjPWUCegObENdT6ameuD7CfupQXJ/Rm1Ujz77e75RuyFNfw+"
    "cFSH3b+FIdWVI66joo9oVIQO0gat1rawZv55chfrcd2JjEOi77puwruwOlFuS9PbC3aEm9O0Vl0QbfdTPrsGaxDLV43s/cSKdl8yVOdXAfJxk5"
    "nwo2FJ8D7nZUuLnC/RXge2y195WwhIoz49sYyVCQ5hmrhx66gxqcFgWATSajsZ50Augw+jLu/PYIk=";
inline constexpr std::string_view kSampleConfiguration =
    R"x(# A development appliance: every part runs as one user, so the token side is separated from the network by processes only.

[server]
listen = "127.0.0.1:59071"
certificate = "/srv/strongroom/server.pem"
client-ca = "/srv/strongroom/ca.pem"
identity = "pkcs11:token=strongroom-identity?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/srv/strongroom/token/identity.pin"
identity-so-pin-file = "/srv/strongroom/token/identity.so-pin"
identity-softhsm-conf = "/srv/strongroom/token/identity.conf"
tokend-socket = "/srv/strongroom/token/tokend.sock"
token-hosts = 1

[ledger]
directory = "/srv/strongroom/data"

[rotation]
# Elsewhere a keyring is rotated once an hour at most; here as often as a developer likes.
pace-minutes = 0

[tokend]
uri = "pkcs11:token=strongroom-kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/srv/strongroom/token/kek.pin"
socket = "/srv/strongroom/token/tokend.sock"
state-dir = "/srv/strongroom/token/state"
softhsm-conf = "/srv/strongroom/token/softhsm2.conf"
so-pin-file = "/srv/strongroom/token/kek.so-pin"
hosts = 1
)x";
inline constexpr std::string_view kSampleUri =
    "pkcs11:token=strongroom-kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/srv/strongroom/kek.pin";
inline constexpr std::string_view kSampleCeremony = R"x(# A scheduled rotation of a keyring's KEK.
name = "rotation"
title = "Scheduled rotation of {keyring}"

[[parameter]]
name = "keyring"
help = "the keyring to rotate"
[[parameter]]
name = "next"
help = "the number that the new version will have"
[[parameter]]
name = "reason"
help = "why"
default = "scheduled rotation"

[[participant]]
label = "first-custodian"
role = "custodian"
[[participant]]
label = "second-custodian"
role = "custodian"

[[step]]
do = "state"
title = "The appliance is well"
is = "operational"
[[step]]
do = "propose"
title = "Propose the rotation"
as = "rotation"
operation = "keyring.rotate"
keyring = "{keyring}"
reason = "{reason}"
[[step]]
do = "compare"
title = "Both custodians read the same text"
of = "rotation"
by = ["first-custodian", "second-custodian"]
[[step]]
do = "approve"
title = "{first-custodian} approves"
of = "rotation"
by = "first-custodian"
[[step]]
do = "approve"
title = "{second-custodian} approves"
of = "rotation"
by = "second-custodian"
[[step]]
do = "execute"
title = "The token generates the new KEK"
of = "rotation"
[[step]]
do = "expect"
title = "The new version is active"
keyring = "{keyring}"
primary = "{next}"
version = "{next}"
version-state = "active"
)x";

}  // namespace strongroom::tests
