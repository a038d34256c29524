CREATE TABLE clock (
            id INTEGER PRIMARY KEY, rev BIGINT NOT NULL, seq INTEGER NOT NULL,
            rebuilds INTEGER NOT NULL, store_id TEXT NOT NULL);
INSERT INTO "clock" VALUES(1,4,3,0,'e9adfdd90cf24e8ea6a7fe3bab3dc1a6');
CREATE TABLE interactions (
            seq INTEGER PRIMARY KEY, rev BIGINT NOT NULL, prompt_id TEXT NOT NULL UNIQUE, timestamp TEXT NOT NULL,
            provider TEXT NOT NULL, model TEXT NOT NULL, requested_model TEXT NOT NULL, status TEXT NOT NULL,
            prompt TEXT NOT NULL, response TEXT NOT NULL, latency_ms DOUBLE PRECISION, ttft_ms DOUBLE PRECISION,
            token_count INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
            token_source TEXT NOT NULL, cost_usd DOUBLE PRECISION, rating INTEGER, template TEXT, template_version TEXT,
            system TEXT, params TEXT NOT NULL, conversation_id TEXT, run_id TEXT, parent_id TEXT,
            attempts TEXT NOT NULL, error TEXT, finish_reason TEXT);
INSERT INTO "interactions" VALUES(1,1,'plain','2026-10-01T12:00:00.000+00:00','groq','openai/gpt-oss-20b','groq','ok','Explain gravity.','Things fall.',812.5,210.25,30,10,20,'provider',0.00012,NULL,'friendly','v1',NULL,'{"temperature":0.5,"variables":{"tone":"warm"}}',NULL,NULL,NULL,'[{"provider":"groq","model":"openai/gpt-oss-20b","outcome":"ok","latency_ms":812.5}]',NULL,NULL);
INSERT INTO "interactions" VALUES(2,3,'rated','2026-10-01T12:00:00.000+00:00','groq','openai/gpt-oss-20b','groq','ok','It''s "quoted"
and goes on','ü €',812.5,NULL,30,10,20,'provider',NULL,4,'friendly','v1',NULL,'{"temperature":0.5,"variables":{"tone":"warm"}}','c1','r1',NULL,'[{"provider":"groq","model":"openai/gpt-oss-20b","outcome":"ok","latency_ms":812.5}]',NULL,NULL);
INSERT INTO "interactions" VALUES(3,4,'failed','2026-10-01T12:00:00.000+00:00','groq','openai/gpt-oss-20b','groq','error','Explain gravity.','',812.5,210.25,30,10,20,'provider',0.00012,NULL,NULL,NULL,NULL,'{"temperature":0.5,"variables":{"tone":"warm"}}','c1','r1',NULL,'[{"provider":"groq","model":"openai/gpt-oss-20b","outcome":"ok","latency_ms":812.5}]','GROQ is down',NULL);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE started (
            prompt_id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, host TEXT NOT NULL, process TEXT NOT NULL,
            request TEXT NOT NULL);
INSERT INTO "started" VALUES('cut','2026-10-01T12:00:00.000+00:00','a-host-that-is-gone','/gone/.running.lock','{"prompt_id": "cut", "timestamp": "2026-10-01T12:00:00.000+00:00", "provider": "groq", "model": "openai/gpt-oss-20b", "requested_model": "groq", "status": "ok", "prompt": "What was asked", "response": "", "latency_ms": 812.5, "ttft_ms": 210.25, "token_count": 30, "prompt_tokens": 10, "completion_tokens": 20, "token_source": "provider", "cost_usd": 0.00012, "rating": null, "template": "friendly", "template_version": "v1", "system": null, "params": "{\"temperature\":0.5,\"variables\":{\"tone\":\"warm\"}}", "conversation_id": "c1", "run_id": "r1", "parent_id": null, "attempts": "[{\"provider\":\"groq\",\"model\":\"openai/gpt-oss-20b\",\"outcome\":\"ok\",\"latency_ms\":812.5}]", "error": null, "finish_reason": null}');
CREATE TABLE template_versions (
            version TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, first_used TEXT NOT NULL);
INSERT INTO "template_versions" VALUES('v1','friendly','Say it as a friend: {prompt}','2026-10-01T12:00:00.000+00:00');
CREATE INDEX interactions_rev ON interactions (rev);
CREATE INDEX interactions_conversation ON interactions (conversation_id);
CREATE INDEX interactions_run ON interactions (run_id);
CREATE INDEX interactions_analytics ON interactions (
            timestamp, seq, model, provider, template, status, rating, latency_ms, ttft_ms, token_count, cost_usd);
