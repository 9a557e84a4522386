/* The custody record, format 7. Three parts, chosen by -DPART=1, 2, 3; CTest runs them whole and with each rule taken out (tests/models/CMakeLists.txt).
   1 writers: claim, look-write-look, killed hosts whose write lands later, several hosts alive at once.
   2 time: a wall clock that anybody may set, reboots, downtime, replaced hosts, clock.accept; destruction, expiry, release.
   3 pasts: token and database restored, record lost or forked, adoption, rosters, epochs; progress of an honest quorum. */
#ifndef PART
#define PART 1
#endif

#if PART == 1
/* An object: writer (its order: term, count, id), serial, settled; content: s1 = P1 spent, ros = roster (0, then 1 by change X or 2 by Y, which
   exclude each other), pd = a KEK is pending. NEVER: a write is lost only if its host dies before the token has it. */
#define R 9
typedef Rec { bool there; byte w; byte ser; bool st; bool s1; byte ros; byte pd }
Rec rec[R]; byte n = 0;
typedef Flight { bool on; byte ser; bool st; bool s1; byte ros; byte pd }
Flight fl[4];               /* what writer w has sent and the token has not carried out yet */
byte made = 0, rosmade = 0; bool cancelled = false; bool done1nd = false;
bool up[4];                 /* running */
byte settledby = 0;         /* the highest writer that has reported itself ready */
byte ghostros = 0;          /* the roster that the front end has been told */

#define OLDER(a, b) (rec[a].w < rec[b].w || (rec[a].w == rec[b].w && rec[a].ser < rec[b].ser))
/* look: hw = the highest writer seen, e = the effective record: of the newest SETTLED writer the highest serial */
inline look() { d_step {
  hw = 0; e = R; sw = 0;
  for (k : 0 .. R-1) { if :: k < n && rec[k].there ->
      if :: rec[k].w > hw -> hw = rec[k].w :: else fi;
      if :: (rec[k].st && rec[k].w > sw) -> sw = rec[k].w :: else fi
    :: else fi }
#ifdef NO_SETTLED
  sw = hw;                  /* the first record of a claim already hides those of lower writers */
#endif
#if defined(SERIAL_ONLY) || defined(PLAN_MERGE)
  for (k : 0 .. R-1) { if :: k < n && rec[k].there && (e == R || rec[k].ser > rec[e].ser || (rec[k].ser == rec[e].ser && rec[k].w > rec[e].w)) -> e = k :: else fi }
#else
  for (k : 0 .. R-1) { if :: k < n && rec[k].there && rec[k].w == sw && (e == R || rec[k].ser > rec[e].ser) -> e = k :: else fi }
#endif
  c1 = rec[e].s1; cr = rec[e].ros; cp = rec[e].pd; cs = rec[e].ser;
#ifdef PLAN_MERGE           /* a merge instead: of one serial, everything spent, pending and seen in either counts */
  for (k : 0 .. R-1) { if :: k < n && rec[k].there && rec[k].ser == cs -> c1 = c1 || rec[k].s1; if :: rec[k].pd > cp -> cp = rec[k].pd :: else fi; if :: rec[k].ros > cr -> cr = rec[k].ros :: else fi :: else fi }
#endif
#ifdef MERGE_RESTRICTED     /* a late write of the same serial, merged as restrictively as can be */
  for (k : 0 .. R-1) { if :: k < n && rec[k].there && rec[k].w < sw && rec[k].ser == cs -> c1 = c1 || rec[k].s1; if :: rec[k].pd != cp -> cp = 0 :: else fi; if :: rec[k].ros > cr -> cr = rec[k].ros :: else fi :: else fi }
#endif
#ifdef TIE_IS_LOST          /* as up to format 6: two of one serial that differ are "lost", and any roster may adopt */
  for (k : 0 .. R-1) { if :: k < n && rec[k].there && k != e && rec[k].ser == cs && (rec[k].s1 != c1 || rec[k].ros != cr || rec[k].pd != cp) -> assert(false) :: else fi }
#endif
  k = 0 } }
inline send(t) { d_step { fl[me].on = true; fl[me].ser = cs + 1; fl[me].st = t; fl[me].s1 = c1; fl[me].ros = cr; fl[me].pd = cp; cs = cs + 1 } }
/* waits until it has landed, or dies with it under way */
inline landed() { if :: !fl[me].on -> skip :: up[me] = false; goto dead fi }

active proctype Token() { byte k;     /* carries a write out whenever it likes, also after its host has died */
end: do
  :: atomic { n < R && (fl[1].on || fl[2].on || fl[3].on) ->
       if :: fl[1].on -> k = 1 :: fl[2].on -> k = 2 :: fl[3].on -> k = 3 fi;
       rec[n].there = true; rec[n].w = k; rec[n].ser = fl[k].ser; rec[n].st = fl[k].st; rec[n].s1 = fl[k].s1; rec[n].ros = fl[k].ros; rec[n].pd = fl[k].pd; n++;
       fl[k].on = false; fl[k].ser = 0; fl[k].st = 0; fl[k].s1 = 0; fl[k].ros = 0; fl[k].pd = 0; k = 0 }
  od }

inline before() { skip;       /* look: nobody above me, and the effective record is the one that I wrote last */
#ifndef NO_BEFORE
  look(); if :: hw > me || sw != me -> goto out :: else fi;
  assert(cs == mine || hw > me);
#endif
}
inline after() {
#ifndef NO_AFTER
  look(); if :: hw > me -> goto out :: else fi;
#endif
  mine = cs }

/* A look and what is sent after it are one step: sending is seen by nobody until the token has carried it out, which is a step of its own. */
#define CLEAR hw = 0; e = 0; sw = 0
proctype Host(byte me; byte ops) { byte k, e, hw, sw, cs, cr, mine, cp, keep; bool c1;
  if :: me == 1 -> atomic { look(); mine = cs; CLEAR }
     :: else ->
       atomic { look(); if :: hw >= me -> goto out :: else fi; CLEAR; send(false) }  /* the claim: says who, changes nothing */
       atomic { landed();
#ifndef NO_RELOOK
         keep = cs; look(); if :: hw > me -> goto out :: else fi; if :: cs < keep -> cs = keep :: else fi; keep = 0; CLEAR;
#endif
         send(true) }                                 /* settled: what lower writers had written is in it */
       atomic { landed(); look(); if :: hw > me -> goto out :: else fi;
         mine = cs;
         if :: me > settledby -> settledby = me :: else fi; ghostros = cr; CLEAR }
  fi;
  atomic { before();
#if !defined(NO_BEFORE) && !defined(NO_AFTER) && !defined(NO_SETTLED) && !defined(NO_RELOOK)
     if :: settledby == me -> assert(cr == ghostros) :: else fi;   /* what was answered stays true: a late write changes nothing */
#endif
     CLEAR;
     if
     :: !c1 -> c1 = true; send(true); keep = 1                                  /* P1 makes a key */
     :: cr == 0 -> if :: cr = 1 :: cr = 2 fi; send(true); keep = 2              /* X or Y */
     :: cp == 1 -> cp = 0; send(true); keep = 3                                 /* somebody cancels, and is told so */
#ifdef NO_GOING
     :: cp == 1 -> keep = 5
#else
     :: cp == 1 -> cp = 2; send(true); keep = 4                                 /* a destruction marks its line first */
#endif
     :: cp == 2 -> goto out                                                     /* under way: only finished, never cancelled */
     :: true -> goto out
     fi }
  if
  :: keep == 5 -> assert(!cancelled); goto out                                  /* judged by the look before, destroyed a moment later */
  :: else ->
     atomic { landed(); after(); CLEAR;
       if
       :: keep == 1 -> made++; assert(made <= 1); goto out
       :: keep == 2 -> rosmade++; assert(rosmade <= 1); goto out
       :: keep == 3 -> cancelled = true; goto out
       :: keep == 4
       fi }
     assert(!cancelled)                                                         /* the key goes */
  fi;
out: up[me] = false;
dead: skip }
init { byte k; atomic { rec[0].there = true; rec[0].w = 1; rec[0].ser = 1; rec[0].st = true; rec[0].pd = 1; n = 1; settledby = 1;
  up[1] = true; up[2] = true; up[3] = true;
  run Host(1, 1); run Host(2, 1); run Host(3, 1) } }
#endif

#if PART == 2
/* Units: one is a third of a waiting period. The machine's true time is only counted (ghosts); wall is whatever anybody sets, 0 .. M.
   Record: seen (a floor that runs with boot time), boot number, boot time at the last write, watched. bt is boot time. */
#define M 7
#define W 3
#ifdef NO_ACCEPT
#define ACC 0
#else
#define ACC 1
#endif
#define NEAR 0                 /* five minutes are less than a unit */
byte wall = 1, bt = 0, boot = 1; bool on = true, host = true;
byte seen = 1, rboot = 1, rbt = 0, watched = 0;           /* the record */
bool pend = false; byte duew = 0, duewall = 0; byte refwall = 1, refbt = 0;   /* pending; for WALL_DUE: where this boot was first seen */
byte g_live = 0;               /* ghost: units that a host lived through since the KEK was given up */
bool p_expired = false; byte p_until = 4;                 /* proposal P: execute-by 4 */
byte p_n = 0; bool p_spent = false; byte p_size = 1, floorsize = 0, maxsize = 0, logsize = 1; bool floorset = false;
bool rel = false; byte reluntil = 0, relw = 0, g_rel = 0; byte steps = 0, resets = 0, accepts = 0, acts = 0;
#define MX(a, b) ((a) > (b) -> (a) : (b))
#ifdef NO_RUN
#define FLOOR seen
#else
#define FLOOR (rboot == boot && bt > rbt -> seen + (bt - rbt) : seen)
#endif
#define WATCHED (rboot == boot && bt > rbt -> watched + 1 : watched)           /* at most two hours for one write; here: one unit */
#define LATE MX(wall, FLOOR)
#define BEHIND (wall + NEAR < FLOOR)
#ifdef PRUNE_BY_WALL
#define PRUNED (LATE > p_until)
#else
#define PRUNED (seen > p_until)           /* only what the record itself has seen pass */
#endif
inline course() {              /* every write of the record: checkpoints (at least hourly) and changes */
  watched = WATCHED; seen = LATE; 
  rboot = boot; rbt = bt }
#ifdef NO_SEEN_MOVE
#define CHECKPOINT skip
#else
#define CHECKPOINT course()
#endif
inline tick() {                /* a unit passes; a living host writes in it (hourly), so boot time is never far from the record */
  bt++; if :: wall < M -> wall++ :: else fi;
  if :: host && refwall > 0 -> if :: pend -> g_live++ :: else fi; if :: rel -> g_rel++ :: else fi; CHECKPOINT; if :: LATE > p_until -> p_expired = true :: else fi :: else fi }   /* a living host has seen P's deadline pass */
inline judge_expiry() { 
#ifdef NO_LATE
  ok = (wall <= p_until)
#else
  ok = (LATE <= p_until && !BEHIND)
#endif
}
active proctype World() { bool ok, a, b;
  do
  :: d_step { steps < 5 && on -> steps++; tick() }
  :: atomic { resets < 2 -> resets++; if :: wall = 0 :: wall = 3 :: wall = M fi }      /* anybody sets the wall clock */
  :: d_step { on && bt > 0 && boot < 2 -> boot++; bt = 0; refwall = 0; host = true }               /* reboot (downtime: the wall is set) */
  :: d_step { on && host && refwall == 0 -> 
#ifdef WALL_DUE
       refwall = wall; refbt = bt;                                                                /* for WALL_DUE: a start, if not behind, is no step */
#else
       refwall = 1;
#endif
       seen = LATE; rboot = boot; rbt = bt }
  :: d_step { host && refwall > 0 -> host = false }                                                /* a host is killed ... */
  :: d_step { !host && on && refwall > 0 -> host = true;
#ifndef COUNT_GAPS
       seen = LATE; rboot = boot; rbt = bt                                                        /* a claim: what nobody watched does not count */
#else
       CHECKPOINT
#endif
       }                                            /* ... and replaced */
#ifndef ONLY_P
  :: d_step { host && !pend && refwall > 0 && acts < 2 -> acts++; course(); pend = true; duew = watched + W; duewall = wall + W; g_live = 0 }
  :: d_step { host && pend && refwall > 0 ->                                                      /* whoever asks */
#ifdef WALL_DUE
       ok = (!BEHIND && wall >= duewall && (duewall >= refwall || bt - refbt >= 1));               /* due by the wall clock, as up to format 6 */
#else
       ok = (WATCHED >= duew);
#endif
       if :: ok -> assert(g_live + 1 >= W); pend = false :: else fi }                             /* + 1: the unit under way */
  :: d_step { host && !rel && acts < 2 && refwall > 0 -> acts++; course(); rel = true; reluntil = LATE + 2; relw = watched + 2; g_rel = 0 }
  :: d_step { host && rel && refwall > 0 -> 
#ifdef NO_REL_WATCHED
       ok = (LATE <= reluntil);                                                                    /* a date alone */
#else
       ok = (LATE <= reluntil && WATCHED <= relw);
#endif
       if :: ok -> assert(g_rel <= 3) :: else fi }
#endif
#ifndef ONLY_D
  /* P is executed, by anybody who has its votes, as often as the token lets him */
  :: d_step { host && refwall > 0 && p_n < 2 -> judge_expiry();
       if :: ok && !p_spent && !(floorset && p_size <= floorsize) && p_size <= maxsize + 4 ->
             assert(!p_expired); p_n++; assert(p_n <= 1); course(); p_spent = true; maxsize = MX(maxsize, p_size) :: else fi }
  :: d_step { host && p_spent && PRUNED -> p_spent = false }                              /* pruned after its deadline */
  :: d_step { p_n == 0 -> p_size = 3 }                                                            /* the front end drafts it with a size beyond the log */
#endif
  /* clock.accept: a quorum names what the wall clock says. It must always pass. */
  :: d_step { host && refwall > 0 && accepts < ACC -> accepts++;
#ifdef ACCEPT_BEHIND
       assert(!BEHIND);
#endif
       logsize++; watched = WATCHED; seen = wall; rboot = boot; rbt = bt;
#ifdef NO_FLOOR
       skip;
#else
#ifdef FLOOR_TEXT
       floorsize = logsize;
#else
       floorsize = MX(logsize, maxsize);
#endif
       floorset = true;
#endif
       p_expired = false;                                             /* by the accepted clock it may be young again: the floor has to hold */
       assert(!(wall + NEAR < FLOOR)) }                               /* progress: after it a fresh proposal is judged by this clock */
  :: break
  od }
#endif

#if PART == 3
/* Rosters 0 -> 1 -> 2 by votes; 9 is made up. The root names roster 0. Epochs grow by adoption. Token record: t*, database: d*. Proposals P1, P2
   are filed at any time under the epoch and roster of then, and replayed by a front end that was taken over (evil) as long as they are not late. */
byte te = 1, tr = 0; byte ta = 1; bool ts[2];        /* token: epoch, roster, anchor (length of the log it has signed), spent */
byte tm = 0;                                         /* 0 a good record, 1 lost, 2 forked (two that differ) */
byte de = 1, dr = 0; byte dl = 1; bool dx[2];        /* database: epoch, roster, length, executed */
byte ste, str, sta; bool sts[2]; bool tsnap;         /* a snapshot of the token, */
byte sde, sdr, sdl; bool sdx[2]; bool dsnap;         /* one of the database */
bool filed[2]; byte pe[2], pr[2]; byte ex[2];        /* proposals: epoch, roster; ghost: how often they had an effect */
bool evil; bool trest, drest, both, limit; byte made_up; byte nrost, nad; byte hr = 0; byte steps;
#define FOREIGN 9
#ifdef NO_EPOCH
#define EPOCH_OK(i) true
#else
#define EPOCH_OK(i) (pe[i] == te)
#endif
#define MXX(a, b) ((a) > (b) -> (a) : (b))
/* what an honest front end sees before it lets anything governed go ahead, at a start, with each Learn, and before it consumes */
#ifdef NO_DETECT
#define BEHIND_T false
#else
#define BEHIND_T (tm == 0 && (ta < dl || tr != dr || te != de || (dx[0] && pe[0] == te && !ts[0]) || (dx[1] && pe[1] == te && !ts[1])))
#endif
#define BEHIND_D (tm == 0 && (ta > dl || te > de))
inline execute(i) {                                  /* the host's judgement */
  if :: (tm == 0 && filed[i] && !ts[i] && pr[i] == tr && EPOCH_OK(i)) -> ts[i] = true; ex[i]++; if :: limit -> skip :: else -> assert(ex[i] <= 1) fi;
        dx[i] = true; dl++; ta = MXX(ta, dl)
     :: else fi }
/* ledger.adopt under roster q with epoch ne: from the record's roster, if there is one, else from the root's, a chain of votes must lead to q */
inline adopt_judge(q, ne) {
  d_step { ok = true;
  if :: q == FOREIGN ->
#ifdef NO_ROOT
        ok = (tm == 1)
#else
#ifdef WRONG_IS_LOST
        ok = (tm == 2)
#else
        ok = false                                   /* no chain of votes leads from 0 to it */
#endif
#endif
     :: else ->
        if :: tm == 1 -> ok = true                   /* from the root: any roster that its votes lead to */
           :: else ->
#ifdef NO_CATCHUP
             ok = (q == tr)
#else
#ifdef BACKWARD
             ok = true
#else
             ok = (q >= tr)                          /* never to one that the record has left behind */
#endif
#endif
        fi
  fi;
  if :: tm != 1 && ne <= te -> ok = false :: else fi } }
inline adopt_do(q, ne) { d_step {
  assert(q != FOREIGN);
  assert(tm == 1 || q >= tr);                        /* a revoked roster does not come back while a record is there */
  te = ne; tr = q; tm = 0; ta = dl; ts[0] = false; ts[1] = false; de = ne; dr = q; dl++; ta = dl;
#ifdef NO_EPOCH
#ifndef NO_RESPEND
  ts[0] = dx[0]; ts[1] = dx[1];
#endif
#endif
  } }
/* progress: from here an honest front end and an honest quorum (of the newest roster, hr) can always go on */
inline recover() {
  if :: tm != 0 || BEHIND_T || BEHIND_D || ta != dl ->
#ifdef NO_CHAIN_COPY
        d_step { ne = MXX(te, de) + 1 };              /* the chain of rosters is in the database alone */
#else
        d_step { dr = MXX(dr, hr); ne = MXX(te, de) + 1 };   /* the token host's own copy of the chain: later rosters with their votes */
#endif
        adopt_judge(dr, ne); assert(ok); adopt_do(dr, ne)
     :: else fi;
  assert(tm == 0 && tr == dr && te == de && ta == dl);
  d_step { filed[0] = true; pe[0] = te; pr[0] = tr; ts[0] = false; ex[0] = 0; dx[0] = false }; 
  execute(0); assert(ex[0] == 1) }
active proctype World() { bool ok; byte ne; byte i, q;
  do
  :: d_step { steps < 9 -> steps++ };
    if
    :: d_step { !evil -> evil = true }
    :: d_step { for (i : 0 .. 1) { if :: !filed[i] -> filed[i] = true; pe[i] = de; pr[i] = dr; break :: else fi } i = 0 }
    :: atomic { if :: i = 0 :: i = 1 fi; if :: !evil && !(BEHIND_T || BEHIND_D || tm != 0) -> if :: filed[i] && !dx[i] -> execute(i) :: else fi :: else fi; i = 0 }
    :: atomic { if :: i = 0 :: i = 1 fi; if :: evil ->
#ifndef EVIL_AND_OLD
          limit = limit || trest;                       /* an old token and a hostile front end: only freshness outside helps; until the adoption */
#endif
          execute(i) :: else fi; i = 0 }
    :: d_step { tm == 0 && nrost < 2 && !(BEHIND_T || BEHIND_D) && tr == dr && tr == hr -> nrost++; tr++; dr = tr; hr = tr; dl++; ta = dl }
    :: d_step { !tsnap && tm == 0 -> tsnap = true; ste = te; str = tr; sta = ta; sts[0] = ts[0]; sts[1] = ts[1] }
    :: d_step { tsnap -> te = ste; tr = str; ta = sta; ts[0] = sts[0]; ts[1] = sts[1]; tm = 0; trest = true;
#ifndef BOTH_OLD
         limit = limit || drest
#endif
         }
    :: d_step { !dsnap -> dsnap = true; sde = de; sdr = dr; sdl = dl; sdx[0] = dx[0]; sdx[1] = dx[1] }
    :: d_step { dsnap -> de = sde; dr = sdr; dl = sdl; dx[0] = sdx[0]; dx[1] = sdx[1]; drest = true;
#ifndef BOTH_OLD
         limit = limit || trest                         /* both old: they agree, nobody sees it */
#endif
         }
    :: d_step { tm == 0 -> tm = 1 }                     /* the record's objects are destroyed by somebody with the PIN */
    :: d_step { tm == 0 -> tm = 2 }                     /* two records that differ (a blind token, a group that was split) */
    /* an adoption: by the honest quorum of the roster that the database has, or made up, or by a former roster's people */
    :: atomic { nad < 2 && (tm != 0 || BEHIND_T || BEHIND_D) -> nad++; if :: q = dr :: q = FOREIGN :: q = 0 fi; ne = MXX(te, de) + 1 };
       adopt_judge(q, ne); if :: ok && (q != 0 || dr == 0 || tm != 1) -> adopt_do(q, ne); d_step { if :: tm == 0 -> trest = false; drest = false :: else fi } :: else fi; q = 0; ne = 0
    fi
  :: break
  od;
  recover() }
#endif
